"""Analyses of a recipe, in addition to its variants and evaluations."""

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, field_validator, model_validator

from mlprune.descriptions import NeuronSelection
from mlprune.recipe.base import Seed
from mlprune.recipe.names import NamesOf
from mlprune.recipe.options import refuse_keys_of_others
from mlprune.strict_model import Language, Model, as_tuple, distinct_values
from mlprune.vocabulary import (
    NeuronActionName,
    ProfileName,
)

Value = TypeVar("Value")
CountedLanguage = Annotated[Literal["code"] | Language, Field(title="language, or `code`")]


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
    neurons: Annotated[tuple[str, ...], NamesOf("sets")] = ()
    """Names of demonstration sets, each of one language, in which the activations of every neuron are counted."""
    experts: Annotated[tuple[str, ...], NamesOf("sets")] = ()
    """Names of demonstration sets in which the tokens, gate weights and outputs of every expert are counted. Sets that
    differ in their source language only are compared by their most frequent experts (`overlap_shares`)."""
    neuron_variants: Annotated[tuple[str, ...], NamesOf("variants")] = ()
    """Names of variant entries for which the removed weights of every neuron are counted."""
    layer_errors: LayerErrorsConfig | None = None
    """Computes, for each named set and variant, the squared change of every layer's output relative to its square."""

    @field_validator("overlap_shares", "profile")
    @classmethod
    def _list_is_distinct(cls, value: tuple[Value, ...]) -> tuple[Value, ...]:
        return distinct_values(value)


class NeuronsConfig(Model):
    """Feed-forward neurons that a variant lacks. Lists multiply out."""

    of: Annotated[tuple[CountedLanguage, ...], BeforeValidator(as_tuple)]
    """Languages of the sets; one variant per language."""
    sets: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1), NamesOf("sets")]
    """Names of demonstration sets in which activations are counted: each of one language, and of several languages. All
    sets of a language count together."""
    action: Annotated[tuple[NeuronActionName, ...], BeforeValidator(as_tuple)] = ("remove",)
    """`remove`: the neurons of the language. `only`: the language-specific neurons of all other languages. `random`: a
    control, in each block as many random neurons as the language has there, and none of its own."""
    share: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], BeforeValidator(as_tuple)] = (
        NeuronSelection.share,
    )
    """Language-specific neurons as a fraction of all neurons."""
    quantile: Annotated[float, Field(ge=0, lt=1)] = NeuronSelection.quantile
    """A neuron belongs to a language if its activation probability exceeds this quantile of all probabilities."""
    seed: Annotated[tuple[Seed, ...], BeforeValidator(as_tuple)] = (0,)
    """random: seeds of the controls; only with this action, which may be one of several."""

    @field_validator("of", "sets", "action", "share", "seed")
    @classmethod
    def _list_is_distinct(cls, value: tuple[Value, ...]) -> tuple[Value, ...]:
        return distinct_values(value)

    @model_validator(mode="after")
    def _seed_fits_action(self) -> "NeuronsConfig":
        if "random" not in self.action:
            refuse_keys_of_others(self, "action", {"seed": ("random",)}, " and ".join(self.action))
        return self

    def points(self) -> Iterator[NeuronSelection]:
        """Yield the selections, each once; only random controls have seeds."""
        selections = (
            NeuronSelection(of, action, share, self.quantile, seed if action == "random" else 0)
            for of, action, share, seed in product(self.of, self.action, self.share, self.seed)
        )
        yield from dict.fromkeys(selections)
