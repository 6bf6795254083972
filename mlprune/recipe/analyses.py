"""Analyses of a recipe, in addition to its variants and evaluations."""

from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, field_validator

from mlprune.recipe.names import NamesOf, OfCapability
from mlprune.strict_model import Model, as_tuple, distinct_values
from mlprune.vocabulary import (
    ProfileName,
)

Value = TypeVar("Value")


class LayerErrorsConfig(Model):
    """How much variants change the output of every layer."""

    demonstrations: Annotated[tuple[str, ...], Field(min_length=1), NamesOf("sets")]
    """Names of demonstration sets whose tokens the layers of the dense model read."""
    variants: Annotated[tuple[str, ...], NamesOf("variants")] = ()
    """Names of variant entries (all)."""


class AnalysesConfig(Model):
    """Analyses in addition to the evaluations."""

    overlap_shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.3,)
    """Shares of the features that count as large and as small when demonstration sets are compared, all different."""
    profile: Annotated[tuple[ProfileName, ...], BeforeValidator(as_tuple)] = ("corrected",)
    """`paper` compares features at the share 0.4, which the published script always uses, instead of
    `overlap_shares`; a list does both."""
    mask_overlaps: Annotated[int, Field(ge=0)] = 10_000
    """Largest number of pairs of variants whose masks are compared. If a recipe has more pairs of equal score,
    structure, propagation and sparsity, only pairs that differ in one choice are compared, first those that differ in
    their sets. Queries about masks lack the other pairs. 0 compares none."""
    mask_pairs: Annotated[
        Literal["all", "one_difference"] | Annotated[tuple[tuple[str, str], ...], Field(min_length=1)],
        Field(title="`all`, `one_difference` or list of pairs of names"),
        NamesOf("variants", words=("all", "one_difference")),
    ] = "all"
    """Which pairs of variants of equal score, structure, propagation and sparsity: all, those that differ in one
    choice, or those of the named variant entries, such as `[[wanda-fr, wanda-sw]]`."""
    neurons: Annotated[tuple[str, ...], NamesOf("sets"), OfCapability("neurons")] = ()
    """Names of demonstration sets, each of one language, in which the activations of every neuron are counted."""
    experts: Annotated[tuple[str, ...], NamesOf("sets"), OfCapability("experts")] = ()
    """Names of demonstration sets in which the tokens, gate weights and outputs of every expert are counted. Sets that
    differ in their source language only are compared by their most frequent experts (`overlap_shares`)."""
    routing_entropy: Annotated[tuple[str, ...], NamesOf("sets"), OfCapability("experts")] = ()
    """Names of demonstration sets for which the entropies of the routers and of the use of experts are computed, in
    every block and for the tokens of each language."""
    neuron_variants: Annotated[tuple[str, ...], NamesOf("variants"), OfCapability("neurons")] = ()
    """Names of variant entries for which the removed weights of every neuron are counted."""
    token_share: Annotated[tuple[str, ...], NamesOf("sets"), OfCapability("token_share")] = ()
    """Names of demonstration sets whose distinct tokens are counted, by language."""
    layer_errors: LayerErrorsConfig | None = None
    """Computes, for each named set and variant, the squared change of every layer's output relative to its square."""

    @field_validator("overlap_shares", "profile")
    @classmethod
    def _list_is_distinct(cls, value: tuple[Value, ...]) -> tuple[Value, ...]:
        return distinct_values(value)
