"""Analyses of a recipe in addition to its evaluations."""

from typing import Annotated

from pydantic import Field, field_validator

from mlprune.recipe.base import Model, distinct_values


class AnalysesConfig(Model):
    """Analyses in addition to the evaluations."""

    overlap_shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.3,)
    """Shares of the features that count as large and as small when demonstration sets are compared, all different."""
    mask_overlaps: Annotated[int, Field(ge=0)] = 10_000
    """Largest number of pairs of variants whose masks are compared. If a recipe has more pairs of equal score,
    structure, propagation and sparsity, only pairs that differ in one choice are compared, first those that differ in
    their sets. Queries about masks lack the other pairs. 0 compares none."""
    neurons: tuple[str, ...] = ()
    """Names of demonstration sets, each of one language, in which the activations of every neuron are counted."""
    neuron_variants: tuple[str, ...] = ()
    """Names of variant entries for which the removed weights of every neuron are counted."""

    @field_validator("overlap_shares")
    @classmethod
    def _shares_are_distinct(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        return distinct_values(value)
