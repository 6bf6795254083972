"""What a recipe says of its evaluations: tasks in languages, tasks of its own, and what is analysed besides.

docs/evaluation.md shows every option at work; what a task is stands in `mlprune/evaluation`.
"""

from typing import Annotated, Literal, TypeVar, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from mlprune.recipe.base import Language, Model, Seed, as_tuple, pair_languages, unknown_name
from mlprune.vocabulary import HUB, TASK_TRAITS, PromptName, RuleName, SplitName

KNOWN_TASKS: tuple[str, ...] = tuple(TASK_TRAITS)
READ_PARALLEL_TEXT = tuple(name for name, traits in TASK_TRAITS.items() if traits.reads_parallel_text)
WITH_CANDIDATES = tuple(name for name, traits in TASK_TRAITS.items() if traits.reads == "candidates")
WITH_NATIVE_PROMPTS = tuple(name for name, traits in TASK_TRAITS.items() if traits.has_native_prompts)
READ_PAIRS = tuple(name for name, traits in TASK_TRAITS.items() if traits.reads == "pairs")

Value = TypeVar("Value")


class TaskConfig(Model):
    """A task of the recipe's own: a choice between candidates."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][\w-]*$")]
    """What evaluations call it; none that comes with the package."""
    template: Annotated[str, Field(min_length=1)]
    """The whole text: `{key}` is a text of the row, `{candidate}`, once, every candidate; `{{` is a brace."""
    answer: Annotated[str, Field(min_length=1)]
    """Key of the right candidate: its index from 0, or as it is written among the labels or candidates."""
    labels: tuple[str, ...] = ()
    """Labels as the files write them, the same for all rows."""
    words: tuple[str, ...] = ()
    """What the template says for each label; empty: the labels themselves."""
    candidates: str | None = None
    """Instead of labels: the key under which a row lists its candidates."""
    ties: Literal["earlier", "shared"] = "earlier"
    """Of equal candidates the earlier one is predicted, or they share the credit (`shared`)."""

    @model_validator(mode="after")
    def _name_is_new(self) -> "TaskConfig":
        if self.name in KNOWN_TASKS:
            raise ValueError(f"a task {self.name!r} comes with the package: take another name")
        return self


class AnalysesConfig(Model):
    """What is analysed besides the evaluations."""

    overlap_shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.3,)
    """Shares of the features that count as large and as small where demonstration sets are compared, all different."""
    mask_overlaps: Annotated[int, Field(ge=0)] = 10_000
    """Pairs of variants whose masks are compared, at most. Where a recipe has more pairs of equal score, structure,
    propagation and sparsity, those are taken that differ in one choice, their sets first. 0 compares none."""
    neurons: tuple[str, ...] = ()
    """Names of demonstration sets, each of one language, in which it is counted how often every neuron fires."""
    neuron_variants: tuple[str, ...] = ()
    """Names of variant entries for which it is counted what their masks remove of every neuron."""

    @field_validator("overlap_shares")
    @classmethod
    def _shares_are_there(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        return _distinct(value)


class EvaluationConfig(Model):
    """One task in some languages."""

    task: str
    """A task that comes with the package, or one of the recipe's `tasks`."""
    path: Annotated[str, Field(min_length=1)]
    """Folder of task files, or of parallel text (translation, perplexity); `corpus` for the recipe's corpus; or
    `hub:NAME` or `hub:NAME@REVISION` for a data set of a hub."""
    languages: tuple[Language, ...] = ()
    """Languages; every task but translation needs some."""
    pairs: tuple[str, ...] = ()
    """Language pairs such as `fr-en`; translation needs some, no other task takes them."""
    split: str = "test"
    """Split of the task files; of the corpus: dev or test."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Keep this many items, the same in every language; left out: all of the split."""
    seed: Seed = 0
    """Which items a limit keeps."""
    rule: Annotated[tuple[RuleName, ...], BeforeValidator(as_tuple)] = ("mean",)
    """How candidates are scored; a list is one evaluation each, of one run of the model."""
    prompt_language: Annotated[tuple[PromptName, ...], BeforeValidator(as_tuple)] = ("en",)
    """xnli, xcopa: English words around the examples, or those of their own language; a list is one evaluation each."""
    shots: Annotated[int, Field(ge=0)] = 4
    """translation: sentence pairs in the prompt."""
    shot_seed: Annotated[tuple[Seed, ...], BeforeValidator(as_tuple)] | None = None
    """translation: which sentence pairs are shown (those of `seed`); a list is one evaluation each."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    """translation: tokens generated at most."""
    variants: tuple[str, ...] = ()
    """Names of the variant entries to evaluate (dense always is); empty: all."""

    @field_validator("task")
    @classmethod
    def _task_is_known(cls, value: str, info: ValidationInfo) -> str:
        known = (*KNOWN_TASKS, *(info.context or {}).get("tasks", ()))
        if value not in known:
            raise unknown_name("task", value, known)
        return value

    @field_validator("rule", "prompt_language", "shot_seed")
    @classmethod
    def _list_is_distinct(cls, value: tuple[Value, ...] | None) -> tuple[Value, ...] | None:
        return value if value is None else _distinct(value)

    @model_validator(mode="after")
    def _languages_fit_task(self) -> "EvaluationConfig":
        wanted, other = ("pairs", "languages") if self.task in READ_PAIRS else ("languages", "pairs")
        if not getattr(self, wanted) or getattr(self, other):
            raise ValueError(f"task {self.task} takes {wanted}, not {other}")
        if self.path == "corpus" and self.split not in get_args(SplitName):
            raise ValueError(f"the corpus has the splits dev and test, got {self.split!r}")
        if self.path.startswith(HUB) and self.task in READ_PARALLEL_TEXT:
            raise ValueError(f"task {self.task} reads parallel text from a folder, got {self.path!r}")
        for pair in self.pairs:
            pair_languages(pair)
        return self

    @model_validator(mode="after")
    def _options_fit_task(self) -> "EvaluationConfig":
        for option, is_usual, tasks in (
            ("rule", self.rule == ("mean",), WITH_CANDIDATES),
            ("prompt_language", self.prompt_language == ("en",), WITH_NATIVE_PROMPTS),
            ("shot_seed", self.shot_seed is None, READ_PAIRS),
        ):
            is_own_choice = option == "rule" and self.task not in KNOWN_TASKS
            if not (is_usual or is_own_choice or self.task in tasks):
                raise ValueError(f"{option} means nothing for task {self.task}, only for {', '.join(tasks)}")
        return self


def _distinct(value: tuple[Value, ...]) -> tuple[Value, ...]:
    if not value or len(set(value)) != len(value):
        raise ValueError(f"one value or several different ones, got {list(value)}")
    return value
