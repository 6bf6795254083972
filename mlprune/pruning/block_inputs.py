"""Statistics of the inputs of one block, joined over the demonstration sets of a variant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mlprune.models.families.records import Family
from mlprune.numeric.activations.feature_sums import joined_moments
from mlprune.numeric.activations.packed_triangle import combined_products
from mlprune.numeric.weights.layer_inputs import FeatureMoments, LayerInputs
from mlprune.pruning.feature_factors import Factors


@dataclass(frozen=True)
class BlockInputs:
    """What the methods of a variant read of one block. Statistics that they do not read are empty."""

    factors: Factors | None = None
    """None if neither the score nor the refiner reads statistics."""
    moments: Mapping[str, FeatureMoments] = field(default_factory=dict)
    """Input -> its moments."""
    products: Mapping[str, Tensor] = field(default_factory=dict)
    """Input -> [in, in] float64: the Gram matrix of the set, or the combination of several sets."""
    products_of_sets: tuple[Mapping[str, Tensor], ...] = ()
    """The Gram matrices of each set, in the order of the sets."""
    gradients: Mapping[str, Tensor] = field(default_factory=dict)
    """Layer -> [out, in] float32, by the norm of the block's output."""

    def n_silent(self, layer_input: str) -> int:
        """Return the number of features of an input that the contrast set never activates."""
        return self.factors[layer_input][1] if self.factors else 0

    def of_layer(self, layer: str, weight: Tensor, *, block: int, family: Family) -> LayerInputs:
        """Return one layer with the statistics of its input.

        Args:
            weight: [out, in].
            block: index of the block.
            family: maps layers to their inputs.
        """
        name = family.input_of(layer)
        return LayerInputs(
            weight,
            self.factors[name][0] if self.factors else None,
            block=block,
            layer=layer,
            moments=self.moments.get(name),
            products=self.products.get(name),
            gradients=self.gradients.get(layer),
        )


NO_INPUTS = BlockInputs()
"""For scores that read no statistics."""


@dataclass(frozen=True)
class SetStatistics:
    """Statistics of one block from one demonstration set. Those that are not read are empty."""

    moments: Mapping[str, FeatureMoments] = field(default_factory=dict)
    products: Mapping[str, Tensor] = field(default_factory=dict)
    gradients: Mapping[str, Tensor] = field(default_factory=dict)


def block_inputs(
    factors: Factors | None, sets: Sequence[SetStatistics], *, shares: Sequence[float] = ()
) -> BlockInputs:
    """Join the statistics of the demonstration sets of a variant.

    Moments are those of the sets together, each scaled to its share. Gram matrices are divided by their traces and
    added with the shares as weights. Gradients are the root of the weighted mean of their squares. The statistics of a
    single set are not changed.

    Args:
        factors: of the features, joined already.
        sets: statistics of each set, in the order of the shares; empty if only factors are read.
        shares: weights of the sets, which sum to 1; empty: equal.
    """
    if not sets:
        return BlockInputs(factors)
    weights = tuple(shares) or (1 / len(sets),) * len(sets)
    first = sets[0]
    return BlockInputs(
        factors,
        {name: joined_moments([one.moments[name] for one in sets], weights) for name in first.moments},
        {name: combined_products([one.products[name] for one in sets], weights) for name in first.products},
        tuple(one.products for one in sets) if first.products else (),
        _joined_gradients([one.gradients for one in sets], weights),
    )


def _joined_gradients(sets: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> Mapping[str, Tensor]:
    """Return layer -> root of the weighted mean of squares over sets, [out, in] float32, computed in float64."""
    if len(sets) == 1:
        return sets[0]
    joined = {}
    for layer, first in sets[0].items():
        total = torch.zeros_like(first, dtype=torch.float64)
        for gradients, weight in zip(sets, weights, strict=True):
            total.add_(gradients[layer].to(torch.float64).square_(), alpha=weight)
        joined[layer] = total.sqrt_().to(torch.float32)
    return joined
