"""Levels of a search: sparsities of blocks, of layers in all blocks, or of single layers."""

from decimal import Decimal
from itertools import pairwise
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from mlprune.recipe.base import Model
from mlprune.recipe.schedule_and_scope import Sparsity
from mlprune.vocabulary import UnitName


class LevelsConfig(Model):
    """A sparsity of its own for every block or layer."""

    per: UnitName = "block"
    """Parts that get one level each: a `block`, a `layer` in all blocks, or a layer of one block (`block_layer`)."""
    values: Annotated[tuple[Sparsity, ...], Field(min_length=2)]
    """The levels, ascending; equally spaced if there is a `total`."""
    total: Sparsity | None = None
    """Sparsity of all parts together, weighted by their numbers of weights; left out, it varies."""
    layers: tuple[str, ...] = ()
    """Only these layers are pruned, by their path inside a block (those of the scope of `base`)."""

    @field_validator("values")
    @classmethod
    def _values_ascend(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if list(values) != sorted(set(values)):
            raise ValueError(f"levels are different and ascend, got {list(values)}")
        return values

    @model_validator(mode="after")
    def _total_fits_values(self) -> "LevelsConfig":
        if self.total is None:
            return self
        lowest, highest = self.values[0], self.values[-1]
        if not lowest <= self.total <= highest:
            raise ValueError(f"no levels from {lowest} to {highest} have the total {self.total}")
        exact = [Decimal(str(value)) for value in self.values]
        steps = [upper - lower for lower, upper in pairwise(exact)]
        if len(set(steps)) > 1:
            shown = ", ".join(map(str, steps))
            raise ValueError(f"a total needs equally spaced levels, so that a switch keeps it; their steps are {shown}")
        return self
