"""What a recipe says of its demonstration sets; docs/demonstrations.md shows every kind and option at work."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mlprune.recipe.base import Language, Model, Seed, pair_languages
from mlprune.vocabulary import TASK_TRAITS, DemonstrationKind, TaskName

DEFAULT_SHOTS = 4
DEFAULT_SAMPLES = 100
DEFAULT_SPLIT = "dev"

_TEXT_KEYS = ("source", "target", "pair", "language", "path", "parts", "task", "split")
_OPTIONS = ("template", "token_budget", "shares", "activations")


@dataclass(frozen=True)
class KindOfSet:
    """The keys of one kind of demonstration set."""

    needs: frozenset[str]
    """Keys about its texts that it has to have."""
    may_take: frozenset[str] = frozenset()
    """Keys about its texts that it may have as well."""
    options: frozenset[str] = frozenset(("template", "token_budget", "activations"))
    """Options that apply to it."""
    defaults: Mapping[str, str | int] = field(default_factory=dict)
    """Defaults that other kinds do not have."""


KINDS_OF_SETS: Mapping[DemonstrationKind, KindOfSet] = {
    "translation": KindOfSet(frozenset(("source", "target")), may_take=frozenset(("pair",))),
    "monolingual": KindOfSet(frozenset(("language",))),
    "code": KindOfSet(frozenset(("path",)), options=frozenset(("token_budget", "activations"))),
    "mixed": KindOfSet(frozenset(("parts",)), options=frozenset(("shares",))),
    "text": KindOfSet(frozenset(("path",)), may_take=frozenset(("language",)), defaults={"shots": 1}),
    "task": KindOfSet(frozenset(("task", "path", "language", "split")), defaults={"split": DEFAULT_SPLIT}),
}


class ActivationsConfig(Model):
    """Which raw activations of a set are stored besides the sums that scores need."""

    quota_gib: Annotated[float, Field(gt=0)]
    """What they may take in the store; more is refused before anything runs."""
    blocks: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Only these blocks (all)."""
    inputs: tuple[str, ...] = ()
    """Only these inputs, each named by the first layer that reads it (all)."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Only the first so many demonstrations; at most the set's (all)."""
    dtype: Literal["float32", "float16"] = "float32"
    """Type of the stored numbers."""


class DemonstrationConfig(Model):
    """One demonstration set."""

    name: Annotated[str, Field(min_length=1)]
    """What variants call it; no two entries share it."""
    kind: DemonstrationKind
    """What its texts are; which keys it takes stands below."""
    source: Language | None = None
    """translation: language of the first side of a shot."""
    target: Language | None = None
    """translation: language of the second side, another one."""
    pair: str | None = None
    """translation: `source` and `target` in one word, such as `fr-en`, so that a list of pairs multiplies out."""
    language: Language | None = None
    """monolingual, task: language of the texts; text: needed only where a template names it."""
    path: str | None = None
    """code: folder, whose `**/*.py` are used. text: a `.txt` file, a folder of them, or a table (`.jsonl`, `.jsonl.gz`,
    `.parquet`) with a field `text`. task: folder of task files, `corpus` for the built-in facts, or `hub:NAME`."""
    task: TaskName | None = None
    """task: whose items are shown, each with its right answer; not translation and perplexity."""
    split: Annotated[str, Field(min_length=1)] | None = None
    """task: split of the task files (`dev`)."""
    parts: tuple[str, ...] = ()
    """mixed: names of the sets it unites."""
    shares: Literal["equal", "proportional"] = "proportional"
    """mixed: as many demonstrations of every part, or in proportion to the sizes of the parts."""
    shots: Annotated[int, Field(ge=1)] = DEFAULT_SHOTS
    """Sentences, sentence pairs, documents or items in one demonstration (text: 1); code has no use for it."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Demonstrations in the set (100); mixed: in total, drawn from the parts by `shares` (all there are; `equal`: of
    every part as many as the smallest has)."""
    token_budget: Annotated[int, Field(ge=1)] | None = None
    """Instead of `samples`: demonstrations are drawn until the set has exactly so many tokens, the last one cut."""
    max_tokens: Annotated[int, Field(ge=2)] = 512
    """Tokens after which a demonstration is cut, special tokens included; at most the model's positions."""
    template: Annotated[str, Field(min_length=1)] | None = None
    """How one side of a shot is written, with `{language}`, `{endonym}`, `{text}` and `{end}`
    (`{language}: {text}{end}`; text and task: `{text}{end}`)."""
    seed: Seed = 0
    """Orders sentences, documents, items or files; with equal seed and shots, sets use the same sentences in every
    language."""
    activations: ActivationsConfig | None = None
    """Store raw activations of this set too, and not only their sums of squares."""

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
        defaults = next((one.defaults for name, one in KINDS_OF_SETS.items() if name == kind), {})
        filled = {**defaults, **filled}
        if kind != "mixed" and filled.get("samples") is None and filled.get("token_budget") is None:
            filled["samples"] = DEFAULT_SAMPLES
        return filled

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> "DemonstrationConfig":
        needed, allowed = KINDS_OF_SETS[self.kind].needs, KINDS_OF_SETS[self.kind].may_take
        given = {key for key in _TEXT_KEYS if getattr(self, key)}
        if not needed <= given <= needed | allowed:
            optional = f", and may take {sorted(allowed)}" if allowed else ""
            raise ValueError(f"kind {self.kind} takes {sorted(needed)}{optional}, got {sorted(given)}")
        if self.kind == "translation" and self.source == self.target:
            raise ValueError(f"source and target are both {self.source}")
        if self.task is not None and TASK_TRAITS[self.task].reads_parallel_text:
            raise ValueError(f"task {self.task} reads parallel text: use kind translation or monolingual")
        return self

    @model_validator(mode="after")
    def _options_fit_kind(self) -> "DemonstrationConfig":
        for option in sorted(set(_OPTIONS) & self.model_fields_set - KINDS_OF_SETS[self.kind].options):
            if getattr(self, option) is not None:
                kinds = [name for name, kind in KINDS_OF_SETS.items() if option in kind.options]
                raise ValueError(f"{option} means nothing for kind {self.kind}, only for {sorted(kinds)}")
        if self.samples is not None and self.token_budget is not None:
            raise ValueError("samples and token_budget both say how much: give one of them")
        return self
