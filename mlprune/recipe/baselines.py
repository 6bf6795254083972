"""What a recipe says of its baselines: what pruned variants are held against, beside the dense model.

docs/baselines.md shows every kind at work.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mlprune.recipe.base import Model, Seed
from mlprune.vocabulary import DtypeName

NEEDED: Mapping[str, set[str]] = {"model": {"path"}, "lrp2": {"demonstrations"}, "self_translate": set()}
"""Kind -> the keys it has to have."""

ALLOWED: Mapping[str, set[str]] = {
    "model": {"revision", "dtype"},
    "lrp2": {"layers", "split", "limit", "seed"},
    "self_translate": {"shots", "seed", "max_new_tokens"},
}
"""Kind -> those that it may have besides."""


def _pairs(value: Any) -> Any:
    """A single pair as a list of one."""
    is_pair = isinstance(value, list | tuple) and value and not any(isinstance(one, list | tuple) for one in value)
    return (tuple(value),) if is_pair else value


Pair = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class BaselineConfig(Model):
    """One baseline."""

    name: str | None = None
    """Optional name of the entry, for `against` and an evaluation's `variants`."""
    kind: Literal["model", "lrp2", "self_translate"]
    """`model`: another base model as it is, say a smaller one. `lrp2`: language-representation projection.
    `self_translate`: the model translates the examples to English first."""
    path: Annotated[str, Field(min_length=1)] | None = None
    """model: a local Hugging Face folder, or a hub id."""
    revision: str = "main"
    """model: branch, tag or commit of a hub id."""
    dtype: DtypeName | None = None
    """model: type it computes in (that of the recipe's model)."""
    demonstrations: str | None = None
    """lrp2: name of sets of one language each, English among them, whose mean hidden states are taken."""
    layers: Annotated[
        Literal["search"] | tuple[Pair, ...],
        BeforeValidator(_pairs),
        Field(title="`search`, a pair of blocks `[i, j]`, or a list of pairs"),
    ] = "search"
    """lrp2: the blocks behind which states are moved, from 0; of several pairs the best on `split` is chosen."""
    split: Annotated[str, Field(min_length=1)] = "dev"
    """lrp2: split of the evaluated tasks on which a pair is chosen; never test."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """lrp2: choose on this many items."""
    seed: Seed = 0
    """lrp2: which items a limit keeps. self_translate: which sentences of the corpus a prompt shows."""
    shots: Annotated[int, Field(ge=0)] = 4
    """self_translate: sentence pairs in the prompt."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    """self_translate: tokens generated at most for a text."""
    against: tuple[str, ...] = ()
    """Names of other entries to compare with, besides dense."""

    @model_validator(mode="after")
    def _keys_fit_kind(self) -> "BaselineConfig":
        needed, allowed = NEEDED[self.kind], ALLOWED[self.kind]
        given = self.model_fields_set - {"name", "kind", "against"}
        for key in sorted(needed):
            if getattr(self, key) is None:
                raise ValueError(f"kind {self.kind} needs {key}")
        for key in sorted(given - needed - allowed):
            kinds = [kind for kind in NEEDED if key in NEEDED[kind] | ALLOWED[kind]]
            raise ValueError(f"{key} means nothing for kind {self.kind}, only for {kinds}")
        return self

    @model_validator(mode="after")
    def _layers_make_sense(self) -> "BaselineConfig":
        if self.split == "test":
            raise ValueError("layers are chosen on another split than test, which is for reporting")
        if not self.layers:
            raise ValueError("layers needs a pair of blocks")
        for pair in self.layers if self.layers != "search" else ():
            if not pair[0] < pair[1]:
                raise ValueError(f"of a pair of blocks the lower comes first, got {list(pair)}")
        return self
