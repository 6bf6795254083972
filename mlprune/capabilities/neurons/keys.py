"""The section `neurons` of a variant, and checks of the sets in which neurons are counted."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Annotated, Literal, Protocol, TypeVar

from pydantic import BeforeValidator, Field, field_validator, model_validator

from mlprune.capabilities.neurons.selection import NeuronActionName, NeuronSelection
from mlprune.recipe.analyses import AnalysesConfig
from mlprune.recipe.base import Seed
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.names import NamesOf
from mlprune.recipe.options import refuse_keys_of_others
from mlprune.strict_model import Language, Model, as_tuple, distinct_values

Value = TypeVar("Value")
CountedLanguage = Annotated[Literal["code"] | Language, Field(title="language, or `code`")]


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

    @property
    def n_points(self) -> int:
        """Number of combinations of the lists."""
        return len(self.of) * len(self.action) * len(self.share) * len(self.seed)

    def points(self) -> Iterator[NeuronSelection]:
        """Yield the selections, each once; only random controls have seeds."""
        selections = (
            NeuronSelection(of, action, share, self.quantile, seed if action == "random" else 0)
            for of, action, share, seed in product(self.of, self.action, self.share, self.seed)
        )
        yield from dict.fromkeys(selections)


class CountingEntry(Protocol):
    """A variant that may lack neurons."""

    @property
    def neurons(self) -> NeuronsConfig | None:
        """The neurons."""


class CountingRecipe(Protocol):
    """A recipe whose neurons may be counted."""

    @property
    def analyses(self) -> AnalysesConfig:
        """Its analyses."""

    @property
    def variants(self) -> Sequence[CountingEntry]:
        """Its variants."""

    def sets_named(self, name: str) -> Sequence[DemonstrationConfig]:
        """Return the sets with a name."""


def check_counted_sets(recipe: CountingRecipe) -> None:
    """Check the languages of all sets whose neurons are counted.

    Raises:
        ValueError: a set has several languages or none, all sets have the same, or a variant lacks the neurons of
            another one.
    """
    _counted_languages(recipe, "analyses.neurons", recipe.analyses.neurons)
    for index, variant in enumerate(recipe.variants):
        if variant.neurons is not None:
            where = f"variants.{index}.neurons"
            languages = _counted_languages(recipe, f"{where}.sets", variant.neurons.sets)
            for language in variant.neurons.of:
                if language not in languages:
                    raise ValueError(f"{where}.of needs a language of its sets, {languages}, got {language!r}")


def _counted_languages(recipe: CountingRecipe, key: str, names: tuple[str, ...]) -> list[str]:
    """Return the languages of sets, sorted."""
    counted = [entry for name in names for entry in recipe.sets_named(name)]
    for entry in counted:
        if entry.kind == "mixed" or not (entry.language or entry.kind == "code"):
            raise ValueError(f"{key} needs sets of one language, got {entry.name!r}: {entry.kind}")
    languages = sorted({entry.language or entry.kind for entry in counted})
    if len(languages) == 1:
        raise ValueError(f"{key} compares languages and needs several, got {list(names)}")
    return languages
