"""The section `keep` of a variant; docs/methods.md says how tokens are chosen."""

from typing import Annotated, Final, Protocol

from pydantic import BeforeValidator, Field, model_validator

from mlprune.recipe.base import Seed
from mlprune.recipe.names import NamesOf
from mlprune.recipe.schedule_and_scope import ScheduleConfig
from mlprune.strict_model import Language, Model, as_tuple
from mlprune.vocabulary import TokenScoreName

VOCABULARY: Final = "vocabulary"
"""Structure of the dense model with fewer tokens, and name of what such variants do at run time."""


class KeepingEntry(Protocol):
    """A variant with fewer tokens."""

    @property
    def schedule(self) -> ScheduleConfig:
        """Distribution of its sparsity."""


class KeepConfig(Model):
    """Tokens that a smaller vocabulary keeps. Special and byte tokens are always kept, and the parts of kept tokens."""

    languages: Annotated[tuple[Language, ...], BeforeValidator(as_tuple)] = ()
    """Languages whose tokens are counted; with `demonstrations`, those whose costs are measured as kept ones (the
    languages of the sets)."""
    corpus: str | None = None
    """Parallel text in which tokens are counted (the recipe's corpus, without evaluated lines, and without the fifth of
    its lines in which costs are measured: the first ones in the order of a hash)."""
    demonstrations: Annotated[tuple[str, ...], BeforeValidator(as_tuple), NamesOf("sets")] = ()
    """Instead of a corpus: names of demonstration sets in whose texts tokens are counted, with their templates."""
    score: TokenScoreName = "frequency"
    """Which tokens are kept first: by their occurrences; by the number of aligned lines in which the sentence of any
    language has them, or of demonstrations (`translation_sets`); or as many random ones as by frequency, a control."""
    at_least: Annotated[int, Field(ge=1)] | None = None
    """Least score of a kept token. Without a limit, every counted token is kept."""
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of all counts that the kept tokens reach, such as 0.999999."""
    size: Annotated[int, Field(ge=1)] | None = None
    """Number of kept tokens, with those that are always kept. If fewer are counted, tokens of the lowest ids follow."""
    seed: Seed = 0
    """random: seed of the order."""

    @model_validator(mode="after")
    def _keys_fit(self) -> "KeepConfig":
        if not self.languages and not self.demonstrations:
            raise ValueError("keep needs languages, or demonstrations")
        if self.demonstrations and self.corpus is not None:
            raise ValueError("tokens are counted in a corpus or in demonstrations, got both")
        limits = [key for key in ("at_least", "share", "size") if getattr(self, key) is not None]
        if len(limits) > 1:
            raise ValueError(f"one of at_least, share and size, got {' and '.join(limits)}")
        if self.seed and self.score != "random":
            raise ValueError(f"seed belongs to score random, got score {self.score}")
        return self

    def check_entry(self, entry: KeepingEntry) -> None:
        """Check that the weights of the entry are known before the run.

        Raises:
            ValueError: a search chooses them.
        """
        if entry.schedule.kind == "search":
            raise ValueError("schedule search measures variants with all tokens: leave keep out")
