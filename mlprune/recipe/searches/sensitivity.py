"""Section `sensitivity` of a recipe: what each language loses when one block or layer alone is pruned."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from mlprune.recipe.base import EntryName, Model, as_tuple, distinct_values
from mlprune.recipe.searches.trial_keys import check_base
from mlprune.recipe.searches.trial_points import check_probes
from mlprune.vocabulary import UnitName

Value = TypeVar("Value")


class SensitivityConfig(Model):
    """One sensitivity analysis: a variant for every part and sparsity, in which only this part is pruned."""

    name: EntryName
    """Name of the analysis, unique among all entries."""
    base: Annotated[Mapping[str, object], AfterValidator(check_base), Field(title="keys of an entry of `variants`")]
    """What all probes have in common; needs `propagation: dense` if its score reads demonstrations, which are one
    set."""
    by: Annotated[tuple[UnitName, ...], BeforeValidator(as_tuple)] = ("block",)
    """Parts that are pruned alone: each `block`, each `layer` in all blocks, or each layer of each block
    (`block_layer`)."""
    sparsity: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], BeforeValidator(as_tuple)]
    """Share of the part's weights that is removed."""
    tasks: tuple[str, ...] = ()
    """Tasks of the evaluations on `split` (all)."""
    split: Annotated[str, Field(min_length=1)] = "dev"
    """Split of the evaluations."""
    influence: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Names of demonstration sets, each of one language, for which the influence of every block is measured: one minus
    the cosine between the states before and after it."""

    @field_validator("by", "sparsity")
    @classmethod
    def _list_is_distinct(cls, value: tuple[Value, ...]) -> tuple[Value, ...]:
        return distinct_values(value)

    @field_validator("tasks", "influence")
    @classmethod
    def _names_are_distinct(cls, value: tuple[Value, ...]) -> tuple[Value, ...]:
        return distinct_values(value) if value else value

    @model_validator(mode="after")
    def _probes_are_variants(self) -> "SensitivityConfig":
        check_probes(self.base, self.sparsity)
        return self
