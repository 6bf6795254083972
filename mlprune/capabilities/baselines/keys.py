"""The section `baselines` of a recipe; docs/evaluation.md has an example of every kind."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from mlprune.recipe.base import IMPORT_KEY, MEANING, MOST_ITEMS, AgainstConfig, EntryName, Seed, with_import_key
from mlprune.recipe.names import NamesOf
from mlprune.recipe.options import refuse_keys_of_others
from mlprune.strict_model import Model, as_pairs
from mlprune.vocabulary import DtypeName, full_dtype

NEEDED: Mapping[str, set[str]] = {
    "model": {"path"},
    "lrp2": {"demonstrations"},
    "self_translate": set(),
    "translate_test": {"translations", "system"},
}
"""Kind -> the keys that it needs."""
ALLOWED: Mapping[str, set[str]] = {
    "model": {"revision", "dtype", IMPORT_KEY},
    "lrp2": {"layers", "split", "limit", "seed"},
    "self_translate": {"shots", "seed", "max_new_tokens"},
    "translate_test": set(),
}
"""Kind -> the keys that it may also have."""
Pair = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


def _pairs(value: object) -> object:
    """Return a single pair as a tuple of one pair."""
    if not isinstance(value, list | tuple) or not value or any(isinstance(item, list | tuple) for item in value):
        return value
    return (tuple(value),)


class BaselineFields(Model):
    """One baseline."""

    name: EntryName | None = None
    """Optional name of the entry, for `against` and an evaluation's `variants`."""
    kind: Literal["model", "lrp2", "self_translate", "translate_test"]
    """`model`: another base model, for example a smaller one. `lrp2`: language-representation projection.
    `self_translate`: the model translates the examples to English first. `translate_test`: the examples are given in
    English."""
    path: Annotated[str, Field(min_length=1)] | None = None
    """model: a local Hugging Face folder, or a hub id."""
    revision: str = "main"
    """model: branch, tag or commit of a hub id."""
    dtype: Annotated[DtypeName | None, BeforeValidator(full_dtype)] = None
    """model: dtype in which it computes (that of the recipe's model)."""
    demonstrations: Annotated[str | None, NamesOf("sets")] = None
    """lrp2: name of sets of one language each, including English, whose mean hidden states are used."""
    layers: Annotated[
        Literal["search"] | tuple[Pair, ...],
        BeforeValidator(_pairs),
        Field(title="`search`, a pair of blocks `[i, j]`, or a list of pairs"),
    ] = "search"
    """lrp2: the blocks after which states are moved, from 0; the best of several pairs on `split` is chosen."""
    split: Annotated[str, Field(min_length=1)] = "dev"
    """lrp2: split of the evaluated tasks on which a pair is chosen; never test."""
    limit: Annotated[int, Field(ge=1, le=MOST_ITEMS)] | None = None
    """lrp2: choose on this many items."""
    seed: Seed = 0
    """lrp2: selects the items of a limit. self_translate: selects the sentences of the corpus in a prompt."""
    shots: Annotated[int, Field(ge=0)] = 4
    """self_translate: sentence pairs in the prompt."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    """self_translate: most tokens that are generated for a text."""
    translations: Annotated[
        Annotated[tuple[tuple[str, Annotated[str, Field(min_length=1)]], ...], Field(min_length=1)] | None,
        BeforeValidator(as_pairs),
        Field(title="mapping of tasks to paths or `hub:NAME`"),
    ] = None
    """translate_test: task -> files of the task whose rows are English translations, named by the original language."""
    system: Annotated[str, Field(min_length=1)] | None = None
    """translate_test: name of the system that translated, such as `nllb-200-3.3B`."""
    against: Annotated[tuple[AgainstConfig, ...], NamesOf("evaluated", not_itself=True)] = ()
    """Names of other entries to compare with, in addition to dense."""

    def shrunk(self, n: int) -> "BaselineConfig":
        """Return the baseline with at most `n` items of a choice, and `n` sentence pairs in a prompt."""
        limit = min(self.limit or n, n) if self.kind == "lrp2" else self.limit
        return self.model_copy(update={"limit": limit, "shots": min(self.shots, n)})

    @model_validator(mode="after")
    def _keys_fit_kind(self) -> "BaselineConfig":
        for key in sorted(NEEDED[self.kind]):
            if getattr(self, key) is None:
                raise ValueError(f"kind {self.kind} needs {key}")
        keys = sorted({key for kind in NEEDED for key in NEEDED[kind] | ALLOWED[kind]})
        owners = {key: [kind for kind in NEEDED if key in NEEDED[kind] | ALLOWED[kind]] for key in keys}
        refuse_keys_of_others(self, "kind", owners, self.kind)
        return self

    @model_validator(mode="after")
    def _layers_make_sense(self) -> "BaselineConfig":
        if self.split == "test":
            raise ValueError("layers cannot be chosen on split test, which is for reporting")
        if not self.layers:
            raise ValueError("layers needs a pair of blocks")
        for pair in self.layers if self.layers != "search" else ():
            if not pair[0] < pair[1]:
                raise ValueError(f"the lower block of a pair comes first, got {list(pair)}")
        return self


if TYPE_CHECKING:
    BaselineConfig = BaselineFields
else:
    BaselineConfig = with_import_key(
        "BaselineConfig", BaselineFields, meaning=f"model: {MEANING[0].lower()}{MEANING[1:]}"
    )
