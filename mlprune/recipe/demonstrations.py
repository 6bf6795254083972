"""Demonstration sets of a recipe; docs/demonstrations.md has examples of every kind and option."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from mlprune.languages import pair_languages
from mlprune.recipe.base import ChatKey, Name, Seed
from mlprune.recipe.names import NamesOf, OfCapability
from mlprune.recipe.options import refuse_keys_of_others
from mlprune.strict_model import Language, Model, as_pairs, unknown_name
from mlprune.vocabulary import TASK_TRAITS, DemonstrationKind, DrawName, LongerDemonstration, SharesName, full_dtype

DEFAULT_SHOTS = 4
DEFAULT_SAMPLES = 100
DEFAULT_SPLIT = "dev"

Share = Annotated[float, Field(gt=0, allow_inf_nan=False, title="number above 0")]
_SHARES = "`equal`, `proportional`, or a mapping of parts to numbers above 0"
_TEXT_KEYS = ("source", "target", "pair", "language", "path", "parts", "task", "split")
_ANY_TEXT = frozenset(("template", "token_budget", "activations", "shots", "max_tokens", "longer", "chat"))


def _as_shares(value: object) -> object:
    """Return a mapping of parts to shares as sorted pairs.

    Raises:
        ValueError: the value is neither a mapping to shares nor a name.
    """
    is_mapping = isinstance(value, dict) and bool(value) and all(map(_is_share, value.values()))
    if not is_mapping and value not in get_args(SharesName) and not isinstance(value, tuple):
        raise ValueError(f"expected {_SHARES}, got {value!r}")
    return as_pairs(value)


def _is_share(value: object) -> bool:
    """Whether a value is a finite number above 0; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf


@dataclass(frozen=True)
class KindOfSet:
    """The keys of one kind of demonstration set."""

    needs: frozenset[str]
    """Keys about its texts that it needs."""
    may_take: frozenset[str] = frozenset()
    """Keys about its texts that it may also have."""
    options: frozenset[str] = _ANY_TEXT
    """Options that apply to it."""
    defaults: Mapping[str, str | int] = field(default_factory=dict)
    """Defaults of this kind only."""


KINDS_OF_SETS: Mapping[DemonstrationKind, KindOfSet] = {
    "translation": KindOfSet(
        frozenset(("source", "target")), may_take=frozenset(("pair",)), options=_ANY_TEXT | {"paired", "draw"}
    ),
    "monolingual": KindOfSet(frozenset(("language",)), options=_ANY_TEXT | {"draw"}),
    "code": KindOfSet(
        frozenset(("path",)), options=frozenset(("token_budget", "activations", "max_tokens", "longer", "draw"))
    ),
    "mixed": KindOfSet(frozenset(("parts",)), options=frozenset(("shares",))),
    "text": KindOfSet(frozenset(("path",)), may_take=frozenset(("language",)), defaults={"shots": 1}),
    "generated": KindOfSet(
        frozenset(("language",)),
        options=(_ANY_TEXT - {"token_budget", "longer"}) | {"prompt", "temperature"},
        defaults={"shots": 1},
    ),
    "task": KindOfSet(frozenset(("task", "path", "language", "split")), defaults={"split": DEFAULT_SPLIT}),
}


class ActivationsConfig(Model):
    """Raw activations of a set that are stored in addition to the statistics of scores."""

    quota_gib: Annotated[float, Field(gt=0)]
    """Most space in the store; a recipe that may need more is refused before anything runs."""
    blocks: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Only these blocks, from 0 (all)."""
    inputs: tuple[str, ...] = ()
    """Only these inputs, each named after the first layer that reads it (all)."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Only the first N demonstrations, at most those of the set (all)."""
    dtype: Annotated[Literal["float32", "float16"], BeforeValidator(full_dtype)] = "float32"
    """Dtype of the stored numbers."""


class DemonstrationConfig(Model):
    """One demonstration set."""

    name: Name
    """Name that variants refer to; unique among the entries."""
    kind: Annotated[DemonstrationKind, OfCapability("generation", ("generated",))]
    """Kind of its texts; the table below lists the keys of each kind."""
    source: Language | None = None
    """translation: language of the first side of a shot."""
    target: Language | None = None
    """translation: language of the second side of a shot, different from `source`."""
    pair: str | None = None
    """translation: `source` and `target` together, such as `fr-en`; a list of pairs multiplies out."""
    language: Language | None = None
    """monolingual, task, generated: language of the texts; text: needed only if a template contains it."""
    path: str | None = None
    """code: folder whose `**/*.py` are used. text: a `.txt` file, a folder of them, or a table (`.jsonl`, `.jsonl.gz`,
    `.parquet`) with a field `text`. task: folder of task files, `corpus` for the built-in facts, or `hub:NAME`."""
    task: str | None = None
    """task: its items are the demonstrations, each with the right answer; not translation or perplexity."""
    split: Annotated[str, Field(min_length=1)] | None = None
    """task: split of the task files (`dev`)."""
    parts: Annotated[tuple[str, ...], NamesOf("sets", not_itself=True)] = ()
    """mixed: names of the sets that it combines."""
    shares: Annotated[
        SharesName | tuple[tuple[str, Share], ...],
        BeforeValidator(_as_shares),
        Field(title=_SHARES),
    ] = "proportional"
    """mixed: the same number of demonstrations from every part, numbers in proportion to the sizes of the parts, or
    given shares in any unit, such as `{en: 0.5, fr: 0.3, sw: 0.2}`. A part is named by its languages (`fr`, `fr-en`) or
    by its entry."""
    paired: bool = True
    """translation: `false` gives each shot the target side of another pair, so that no demonstration contains a
    sentence with its translation: the same sentences and tokens without the pairing."""
    draw: DrawName = "hashed"
    """translation, monolingual, code: `published` draws the sentences or files of the paper's scripts. Sentences of one
    language and files are shuffled by `seed` (theirs is 0) as `Dataset.shuffle` does; pairs come in the order of the
    corpus, and one is skipped after each demonstration."""
    shots: Annotated[int, Field(ge=1)] = DEFAULT_SHOTS
    """Sentences, sentence pairs, documents or items in one demonstration (text: 1; generated: always 1); not for code
    and mixed."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Demonstrations of the set (100); mixed: the total, drawn from the parts by `shares` (all; `equal`: as many from
    every part as the smallest part has)."""
    token_budget: Annotated[int, Field(ge=1)] | None = None
    """Instead of `samples`: the exact number of tokens of the set; the last demonstration is truncated."""
    max_tokens: Annotated[int, Field(ge=2)] = 512
    """Most tokens of a demonstration, including special tokens (`longer` says what happens to longer ones); at most the
    model's positions; not for mixed."""
    longer: LongerDemonstration = "truncate_right"
    """What happens to a demonstration of more than `max_tokens`: its end is cut off (`truncate_right`), the recipe is
    refused (`refuse`), the next one is taken instead (`skip`), or its start is cut off (`truncate_left`)."""
    template: Annotated[str, Field(min_length=1)] | None = None
    """Format of one side of a shot, with `{language}`, `{endonym}`, `{text}` and `{end}`
    (`{language}: {text}{end}`; text, task and generated: `{text}{end}`)."""
    chat: ChatKey = None
    """Write each shot as a turn of the user and one of the assistant in the model's chat template, optionally with a
    system text, as in `{system: Translate.}`. The user's turn is the source side, the prompt of a generated text, or
    the words before the answer or before `{text}`."""
    prompt: Annotated[str | None, OfCapability("generation")] = None
    """generated: text that the model continues, with `{language}` and `{endonym}`; empty: the start token alone
    (`{endonym}:`)."""
    temperature: Annotated[Annotated[float, Field(ge=0, allow_inf_nan=False)] | None, OfCapability("generation")] = None
    """generated: temperature at which tokens are drawn; 0 chooses the likeliest ones, and all texts are equal (1)."""
    seed: Seed = 0
    """Seed of the order of sentences, documents, items or files, and of the draws of generated texts. Sets with equal
    seed and shots use the same sentences in every language."""
    activations: ActivationsConfig | None = None
    """Also store raw activations of this set, not only their sums of squares."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: object) -> object:
        """Fill in the sides of a pair, and the defaults that depend on the kind."""
        if not isinstance(values, dict):
            return values
        filled = dict(values)
        kind = filled.get("kind")
        pair = filled.get("pair")
        if kind == "translation" and pair is not None:
            if filled.get("source") is not None or filled.get("target") is not None:
                raise ValueError("pair replaces source and target: use one or the other")
            filled["source"], filled["target"] = pair_languages(str(pair))
        defaults = next((of_kind.defaults for name, of_kind in KINDS_OF_SETS.items() if name == kind), {})
        filled = {**defaults, **filled}
        if kind != "mixed" and filled.get("samples") is None and filled.get("token_budget") is None:
            filled["samples"] = DEFAULT_SAMPLES
        return filled

    @field_validator("task")
    @classmethod
    def _task_is_known(cls, value: str | None) -> str | None:
        if value is not None and value not in TASK_TRAITS:
            raise unknown_name("task", value, TASK_TRAITS)
        return value

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> "DemonstrationConfig":
        needed, allowed = KINDS_OF_SETS[self.kind].needs, KINDS_OF_SETS[self.kind].may_take
        given = {key for key in _TEXT_KEYS if getattr(self, key)}
        if not needed <= given <= needed | allowed:
            optional = f", optionally {sorted(allowed)}" if allowed else ""
            raise ValueError(f"kind {self.kind} needs {sorted(needed)}{optional}, got {sorted(given)}")
        if self.kind == "translation" and self.source == self.target:
            raise ValueError(f"source and target are both {self.source}")
        if self.task is not None and TASK_TRAITS[self.task].reads_parallel_text:
            raise ValueError(f"task {self.task} reads parallel text: use kind translation or monolingual")
        if self.task is not None and TASK_TRAITS[self.task].reads == "questions":
            raise ValueError(f"task {self.task} has generated answers: use a task with candidates")
        return self

    @model_validator(mode="after")
    def _options_fit_kind(self) -> "DemonstrationConfig":
        options = sorted({option for kind in KINDS_OF_SETS.values() for option in kind.options})
        owners = {key: [name for name, kind in KINDS_OF_SETS.items() if key in kind.options] for key in options}
        refuse_keys_of_others(self, "kind", owners, self.kind)
        if self.kind == "generated" and self.shots != 1:
            raise ValueError(f"a generated demonstration is one text: leave shots out, got {self.shots}")
        if self.longer == "skip" and not self.paired:
            raise ValueError("longer: skip needs paired: true, because other pairs depend on all of them")
        if self.chat is not None and self.longer == "truncate_left":
            raise ValueError("longer: truncate_left would cut the first turns of a chat off: use skip or refuse")
        if self.samples is not None and self.token_budget is not None:
            raise ValueError("samples and token_budget both set the size: use one of them")
        return self
