"""Statistics of the inputs of one block, joined over the demonstration sets of a variant."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from mlprune.models.families.records import Family
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
    """Layer -> [out, in] float32."""

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
