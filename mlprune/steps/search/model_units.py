"""Units of a search over levels: blocks, layer kinds or single layers, with their numbers of weights."""

from dataclasses import dataclass
from math import prod
from pathlib import Path

from mlprune.models.checkpoint.weight_files import WeightFiles, weight_name
from mlprune.models.families.records import FAMILIES
from mlprune.pruning.spec import Scope
from mlprune.steps.job import ModelRef
from mlprune.vocabulary import UnitName


@dataclass(frozen=True)
class ModelUnits:
    """The units of a model that get a level each."""

    per: UnitName
    layers: tuple[tuple[int, str], ...]
    """(block, layer) of every pruned layer, by block, then in the family's order."""
    n_weights: tuple[int, ...]
    """Number of weights of each of these layers."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each unit, in the order of its first layer: `3`, `self_attn.q_proj` or `3.self_attn.q_proj`."""
        return tuple(dict.fromkeys(self._unit_of(block, layer) for block, layer in self.layers))

    @property
    def weights_per_unit(self) -> tuple[int, ...]:
        """Number of weights of each unit."""
        counts = dict.fromkeys(self.names, 0)
        for layer, n_weights in zip(self.layers, self.n_weights, strict=True):
            counts[self._unit_of(*layer)] += n_weights
        return tuple(counts.values())

    @property
    def unit_of_layer(self) -> dict[tuple[int, str], str]:
        """(block, layer) -> name of its unit."""
        return {layer: self._unit_of(*layer) for layer in self.layers}

    def _unit_of(self, block: int, layer: str) -> str:
        return {"block": str(block), "layer": layer, "block_layer": f"{block}.{layer}"}[self.per]


def model_units(model: ModelRef, per: UnitName, *, scope: Scope) -> ModelUnits:
    """Return the units of the layers in a scope, with sizes from the headers of the weight files.

    Raises:
        ModelError: the weight files cannot be read.
    """
    family = FAMILIES[model.family]
    files = WeightFiles(Path(model.path), family)
    layers = tuple(
        (block, layer) for block in range(model.n_blocks) for layer in family.layers if scope.includes(block, layer)
    )
    sizes = tuple(prod(files.shape(weight_name(family, block, layer))) for block, layer in layers)
    return ModelUnits(per, layers, sizes)
