"""What a recipe says of its demonstration sets; docs/demonstrations.md shows every kind and option at work."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mlprune.recipe.base import Language, Model, pair_languages
from mlprune.terms import DemonstrationKind, TaskName

DEFAULT_SHOTS = 4
DEFAULT_SAMPLES = 100
DEFAULT_SPLIT = "dev"

_NEEDED: Mapping[str, set[str]] = {
    "translation": {"source", "target"},
    "monolingual": {"language"},
    "code": {"path"},
    "mixed": {"parts"},
    "text": {"path"},
    "task": {"task", "path", "language", "split"},
}
"""Kind -> the keys about its texts that it has to have."""

_ALLOWED: Mapping[str, set[str]] = {"translation": {"pair"}, "text": {"language"}}
"""Kind -> those that it may have besides."""

_TEXT_KEYS = ("source", "target", "pair", "language", "path", "parts", "task", "split")

_OPTIONS: Mapping[str, set[str]] = {
    "template": {"translation", "monolingual", "text", "task"},
    "token_budget": {"translation", "monolingual", "code", "text", "task"},
    "shares": {"mixed"},
    "activations": {"translation", "monolingual", "code", "text", "task"},
}
"""Option -> the kinds it means something for."""


class ActivationsConfig(Model):
    """Which raw activations of a set are stored besides the sums that scores need."""

    quota_gib: Annotated[float, Field(gt=0)]
    """What they may take in the store; more is refused before anything runs."""
    blocks: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Only these blocks; empty: all."""
    inputs: tuple[str, ...] = ()
    """Only these inputs, named by the first layer that reads them; empty: all."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Only the first so many demonstrations (all)."""
    dtype: Literal["float32", "float16"] = "float32"
    """Of the stored numbers."""


class DemonstrationConfig(Model):
    """One demonstration set."""

    name: Annotated[str, Field(min_length=1)]
    """What variants call it."""
    kind: DemonstrationKind
    source: Language | None = None
    """Source language of a translation set."""
    target: Language | None = None
    """Target language of a translation set."""
    pair: str | None = None
    """Source and target in one word, such as `fr-en`; a list of pairs multiplies out like any list."""
    language: Language | None = None
    """Language of a monolingual or task set; of a text set, where its template names it."""
    path: str | None = None
    """Code: folder of `**/*.py` files. Text: a .txt file, a folder of them, or a table. Task: folder of task files."""
    task: TaskName | None = None
    """Task whose items a task set shows, each with its right answer."""
    split: Annotated[str, Field(min_length=1)] | None = None
    """Split of the task files (dev)."""
    parts: tuple[str, ...] = ()
    """Names of the sets a mixed set unites."""
    shares: Literal["equal", "proportional"] = "proportional"
    """Mixed: `equal` takes as many demonstrations of every part as the smallest has, `proportional` takes all."""
    shots: Annotated[int, Field(ge=1)] = DEFAULT_SHOTS
    """Sentences, sentence pairs, documents or items in one demonstration (text: 1)."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Demonstrations in the set (100); of a mixed set: in total, drawn from the parts by `shares` (all there are)."""
    token_budget: Annotated[int, Field(ge=1)] | None = None
    """Tokens in the set, instead of `samples`: drawn until exactly so many are there, the last demonstration cut."""
    max_tokens: Annotated[int, Field(ge=2)] = 512
    """Tokens after which a demonstration is cut, special tokens included."""
    template: Annotated[str, Field(min_length=1)] | None = None
    """How one side of a shot is written, with {language}, {endonym}, {text} and {end}; None: as in the method."""
    seed: int = 0
    """Orders the texts or files; sets of equal seed and shots use the same sentences in every language."""
    activations: ActivationsConfig | None = None
    """Store raw activations of this set; None: only their sums of squares."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        """The sides of a pair, and the defaults that depend on the kind."""
        if not isinstance(values, dict):
            return values
        filled = dict(values)
        kind = filled.get("kind")
        pair = filled.get("pair")
        if kind == "translation" and pair is not None:
            if filled.get("source") is not None or filled.get("target") is not None:
                raise ValueError("pair says source and target at once: give one or the other")
            filled["source"], filled["target"] = pair_languages(str(pair))
        if kind == "text":
            filled.setdefault("shots", 1)
        if kind == "task":
            filled.setdefault("split", DEFAULT_SPLIT)
        if kind != "mixed" and filled.get("samples") is None and filled.get("token_budget") is None:
            filled["samples"] = DEFAULT_SAMPLES
        return filled

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> "DemonstrationConfig":
        needed, allowed = _NEEDED[self.kind], _ALLOWED.get(self.kind, set())
        given = {field for field in _TEXT_KEYS if getattr(self, field)}
        if not needed <= given <= needed | allowed:
            optional = f", and may take {sorted(allowed)}" if allowed else ""
            raise ValueError(f"kind {self.kind} takes {sorted(needed)}{optional}, got {sorted(given)}")
        if self.kind == "translation" and self.source == self.target:
            raise ValueError(f"source and target are both {self.source}")
        if self.task in ("translation", "perplexity"):
            raise ValueError(f"task {self.task} reads parallel text: use kind translation or monolingual")
        return self

    @model_validator(mode="after")
    def _options_fit_kind(self) -> "DemonstrationConfig":
        for option, kinds in _OPTIONS.items():
            if option in self.model_fields_set and getattr(self, option) is not None and self.kind not in kinds:
                raise ValueError(f"{option} means nothing for kind {self.kind}, only for {sorted(kinds)}")
        if self.samples is not None and self.token_budget is not None:
            raise ValueError("samples and token_budget both say how much: give one of them")
        return self
