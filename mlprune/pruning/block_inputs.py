"""Statistics of the inputs of one block, joined over sets, and the factors of its features.

Feature factors: one factor per input feature of a layer, from the statistics of demonstration sets.

A score is a function of a weight and these factors; docs/definitions.md has the formulas.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.models.architecture.architecture import BlockArchitecture
from mlprune.numeric.activations.aggregation import aggregated, bootstrap_weights
from mlprune.numeric.activations.feature_sums import joined_moments
from mlprune.numeric.activations.gram import combined_products
from mlprune.numeric.activations.statistics import RunningTotal
from mlprune.numeric.weights.layer_inputs import FeatureMoments, LayerInputs
from mlprune.numeric.weights.scores import contrast_norms
from mlprune.pruning.spec import ScoreSpec, StatisticsSelection

Value = TypeVar("Value")
BlockStatistics = Mapping[str, Tensor]
"""Input name -> [n, in] float32, sums of squares per demonstration of one set."""
BlockTotals = Mapping[str, RunningTotal]
"""Input name -> the sum over the selected demonstrations of one set."""
Factors = Mapping[str, tuple[Tensor, int]]
"""Input name -> [in] float32 factors, and the number of features that the contrast set never activates."""


class OnAccess(Mapping[str, Value]):
    """Values that are not kept in memory: each access computes one again.

    Args:
        names: in order.
        compute: returns the value of a name.
    """

    def __init__(self, names: Sequence[str], compute: Callable[[str], Value]) -> None:
        self._names = dict.fromkeys(names)
        self._compute = compute

    def __getitem__(self, name: str) -> Value:
        if name not in self._names:
            raise KeyError(name)
        return self._compute(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def reads_means(score: ScoreSpec) -> bool:
    """Whether feature norms are means over demonstrations, as the gradients are that the score adds to them."""
    return "gradients" in score.method.needs


def feature_factors(
    sets: Sequence[BlockStatistics],
    *,
    selection: StatisticsSelection,
    contrast: BlockStatistics | None = None,
    per_demonstration: bool = False,
) -> Factors:
    """Return the factors of every input of a block.

    The factors of one set are the norms ||X_j||_2, or with `contrast` the contrast norms. With several sets, each set's
    factors are made from its mean over demonstrations and then aggregated; `pooled` averages the mean squares.

    Args:
        sets: statistics of the demonstration sets, in the order of the selection's shares.
        selection: which demonstrations count, and how the sets are aggregated.
        contrast: statistics of the contrast set.
        per_demonstration: take roots of means over demonstrations also for a single set, in place of sums.
    Raises:
        StatisticsError: a set has fewer demonstrations than selected, or its numbers are not sums of squares.
    """
    totals = [block_totals(statistics, selection) for statistics in sets]
    against = None if contrast is None else block_totals(contrast, selection)
    return factors_of(totals, selection=selection, contrast=against, per_demonstration=per_demonstration)


def factors_of(
    sets: Sequence[BlockTotals],
    *,
    selection: StatisticsSelection,
    contrast: BlockTotals | None = None,
    per_demonstration: bool = False,
) -> Factors:
    """Return the same factors from sums that `block_totals` made."""
    if per_demonstration and selection.aggregation is None and contrast is None:
        return {name: (total.mean_squares().sqrt().to(torch.float32), 0) for name, total in sets[0].items()}
    return {name: _factor([totals[name] for totals in sets], selection, (contrast or {}).get(name)) for name in sets[0]}


def block_totals(statistics: BlockStatistics, selection: StatisticsSelection) -> BlockTotals:
    """Return the sums of one set whose demonstrations are all in memory.

    Raises:
        StatisticsError: as for `feature_factors`.
    """
    totals = {}
    for name, rows in statistics.items():
        totals[name] = RunningTotal(rows.shape[0], demonstration_weights(rows.shape[0], selection))
        totals[name].add(rows)
    return totals


def demonstration_weights(n: int, selection: StatisticsSelection) -> Tensor | None:
    """Return how often each demonstration of a set counts, [n] float64; None if each counts once.

    Raises:
        StatisticsError: the set has fewer demonstrations than asked for.
    """
    if selection.n_demonstrations is not None and selection.n_demonstrations > n:
        raise StatisticsError(
            "a set has too few demonstrations", expected=f"samples at most {n}", got=selection.n_demonstrations
        )
    n_used = selection.n_demonstrations or n
    if n_used == n and selection.resample_seed is None:
        return None
    weights = torch.zeros(n, dtype=torch.float64)
    used = torch.ones(n_used, dtype=torch.float64)
    weights[:n_used] = used if selection.resample_seed is None else bootstrap_weights(n_used, selection.resample_seed)
    return weights


def _factor(
    sets: Sequence[RunningTotal], selection: StatisticsSelection, contrast: RunningTotal | None
) -> tuple[Tensor, int]:
    """Return [in] factors of one input, and the number of features that the contrast set never activates."""
    if selection.aggregation is None and contrast is None:
        return sets[0].norms(), 0
    means = [total.mean_squares() for total in sets]
    against = None if contrast is None else contrast.mean_squares()
    shares = torch.tensor(selection.shares, dtype=torch.float64) if selection.shares else None
    if selection.aggregation == "pooled":
        means = [aggregated(torch.stack(means), "pooled", weights=shares).to(torch.float64).square()]
    factors = [
        (mean.sqrt().to(torch.float32), 0) if against is None else contrast_norms(mean, against) for mean in means
    ]
    if len(factors) == 1:
        return factors[0]
    if selection.aggregation is None:
        raise StatisticsError("several sets need an aggregation", expected="one set", got=len(factors))
    together = aggregated(
        torch.stack([factor for factor, _ in factors]),
        selection.aggregation,
        parameters=selection.aggregation_parameters,
        weights=shares,
    )
    return together, max(n_silent for _, n_silent in factors)


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

    def of_layer(self, layer: str, weight: Tensor, *, block: int, architecture: BlockArchitecture) -> LayerInputs:
        """Return one layer with the statistics of its input.

        Args:
            weight: [out, in].
            block: index of the block.
            architecture: of the block; maps layers to their inputs.
        """
        name = architecture.input_of(layer)
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
        _combined([one.products for one in sets], weights),
        tuple(one.products for one in sets) if first.products else (),
        _joined_gradients([one.gradients for one in sets], weights),
    )


def _combined(sets: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> Mapping[str, Tensor]:
    """Return input -> combination of the Gram matrices of the sets; on access if the sets are read on access."""

    def combined(name: str) -> Tensor:
        return combined_products([products[name] for products in sets], weights)

    on_access = OnAccess(tuple(sets[0]), combined)
    return on_access if isinstance(sets[0], OnAccess) else dict(on_access)


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
