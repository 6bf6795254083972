"""The description of a task: its rows, items and metrics; also the tasks that a recipe describes by a template."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from string import Formatter
from typing import Literal

from mlprune.descriptions import CANDIDATE, AnswerRule, ConstantAnswer, HubSet, TemplateTask
from mlprune.errors import EqualCandidatesError, TaskFileError
from mlprune.evaluation.tasks.answers import answer_index, listed_texts
from mlprune.evaluation.tasks.items import (
    CATEGORY,
    CLUSTER,
    ChoiceItem,
    Row,
    RowGroups,
    TranslationItem,
    answers_of,
    choice_item,
    generated_item,
    no_groups,
    number_of,
    text_of,
)
from mlprune.evaluation.tasks.layouts.layout import TaskLayout
from mlprune.vocabulary import OF_A_RECIPE, TASK_TRAITS, PromptName, TaskReads, TaskTraits

LABEL_METRICS = (
    "accuracy",
    *(f"{name}_{mean}" for name in ("f1", "precision", "recall") for mean in ("macro", "weighted")),
    "ece",
)
"""Metrics of tasks whose labels are the same for all items."""
CHOICE_METRICS = ("accuracy", "ece")
"""Metrics of tasks whose candidates are texts of the item."""
ANSWER_METRICS = ("exact_match", "token_f1")
"""Metrics of tasks whose answers are generated."""
RIGHT = "index of the right candidate"
"""Key that replaces the answer of a row whose candidates were changed, for example translated."""


@dataclass(frozen=True)
class Task:
    """A task in any language."""

    name: str
    metrics: tuple[str, ...]
    keys: tuple[str, ...] = ()
    """Keys that a row must have in addition to its id; empty for tasks that read parallel text."""
    to_item: Callable[..., ChoiceItem | TranslationItem | None] | None = None
    """Function that makes an item of (example id, row); it returns None for a row that the task drops."""
    prompt_language: Literal["en"] | None = None
    """Language of the words around the example; None if there are no such words."""
    ties: Literal["earlier", "shared"] = "earlier"
    """Among candidates with equal scores, predict the earlier one, or divide the credit equally."""
    texts: tuple[str, ...] = ()
    """Keys of a row whose texts can be translated one by one; empty if the row makes sense only as a whole."""
    answer: str | None = None
    """Key of the right candidate, as an index or a text, if the row lists its candidates."""
    most_words: int | None = None
    """Whitespace-separated words of each such text that are kept; None for all."""
    groups: RowGroups = field(default=no_groups, compare=False)
    """Function that derives the clusters and categories of rows that do not state them."""
    cluster_key: str = CLUSTER
    """Key of a row that states its cluster; a row may lack it only if it is the usual one."""
    category_key: str = CATEGORY
    """Key of a row that states its category, in the same way."""
    native: Mapping[str, object] = field(default_factory=dict, compare=False)
    """Language -> the words of the template in this language, which `to_item` takes as `words`."""
    citation: str | None = None
    """Paper that introduced the task."""
    dataset: HubSet | None = field(default=None, compare=False)
    """Published data set with the rows of the task."""
    copies: tuple[HubSet, ...] = field(default=(), compare=False)
    """Other published data sets with its rows."""
    generates: AnswerRule | None = None
    """How an answer is generated and read; None if candidates or sentences are scored."""
    description: TemplateTask | None = field(default=None, compare=False)
    """The description of a task of a recipe, which also says how its files are read."""
    layouts: tuple[TaskLayout, ...] = field(default=(), compare=False)
    """Layouts of its published files that its module declares; `TASK_LAYOUTS` lists all layouts."""

    @property
    def traits(self) -> TaskTraits:
        """Traits of the built-in task of this name; default traits for a task that a recipe describes."""
        return TASK_TRAITS.get(self.name, OF_A_RECIPE)

    @property
    def has_labels(self) -> bool:
        """Whether the candidates are the same labels for all items."""
        return self.metrics == LABEL_METRICS

    @property
    def reads(self) -> TaskReads:
        """Kind of the items: candidates, sentences, pairs or questions."""
        return "questions" if self.generates is not None else self.traits.reads


def with_prompts(task: Task, *, language: str, prompts: PromptName) -> Task:
    """Give a task the words of a language around its examples: English ones, or native ones.

    Raises:
        TaskFileError: native words are asked for, and the task has none in this language.
    """
    if prompts == "en":
        return task
    if language not in task.native or task.to_item is None:
        message = "the task has no native prompts in this language"
        raise TaskFileError(
            message, task=task.name, expected=sorted(task.native) or "prompt_language: en", got=language
        )
    return replace(task, to_item=partial(task.to_item, words=task.native[language]))


def prompt_language(task: Task, language: str, prompts: PromptName = "en") -> str:
    """Return the language of a task's prompts for examples in a language; translation prompts have English labels."""
    return language if prompts == "native" or task.prompt_language is None else task.prompt_language


def template_task(record: TemplateTask) -> Task:
    """Build the task that a record describes."""
    if record.generate is not None:
        return Task(
            record.name,
            ANSWER_METRICS,
            record.keys,
            partial(_question, record=record),
            cluster_key=record.cluster or CLUSTER,
            category_key=record.category or CATEGORY,
            generates=record.generate,
            description=record,
        )
    return Task(
        record.name,
        LABEL_METRICS if record.labels else CHOICE_METRICS,
        record.keys,
        partial(_item, record=record),
        ties=record.ties,
        texts=record.texts,
        cluster_key=record.cluster or CLUSTER,
        category_key=record.category or CATEGORY,
        answer=RIGHT if record.candidates else None,
        description=record,
    )


def _question(example_id: str, row: Row, *, record: TemplateTask) -> TranslationItem:
    """Fill a row into the template before an answer."""
    parts = Formatter().parse(record.template)
    prompt = "".join(literal + (text_of(row, name) if name else "") for literal, name, _, _ in parts)
    return generated_item(example_id, prompt, answers_of(row, str(record.answer)))


def _candidates(row: Row, record: TemplateTask) -> tuple[str, ...]:
    if isinstance(record.candidates, tuple):
        return tuple(text_of(row, key) for key in record.candidates)
    return tuple(listed_texts(row, str(record.candidates)))


def _check_different(candidates: Sequence[str], record: TemplateTask) -> None:
    """Check that the candidates of a row of a file differ.

    Raises:
        EqualCandidatesError: two are equal, and the task skips such rows.
        TaskFileError: two are equal, and it does not.
    """
    if len(set(candidates)) < len(candidates):
        error = EqualCandidatesError if record.equal_candidates == "skip" else TaskFileError
        expected = "different texts, or the key equal_candidates: skip of the task"
        raise error("two candidates of a row are equal", key="candidates", expected=expected, got=list(candidates))


def _gold(row: Row, names: Sequence[str], *, record: TemplateTask) -> int:
    """Return the index of the right candidate that a row, or the task for all rows, states."""
    key = "answer" if isinstance(record.answer, ConstantAnswer) else record.answer
    value = record.answer.constant if isinstance(record.answer, ConstantAnswer) else row[key]
    kind = "text" if record.answer_as is None and value in record.labels else record.answer_as
    return answer_index({key: value}, key, names, kind=kind)


def _item(example_id: str, row: Row, *, record: TemplateTask) -> ChoiceItem:
    """Fill a row into the template."""
    names = record.labels or _candidates(row, record)
    if RIGHT not in row:
        _check_different(names, record)
    gold = number_of(row, RIGHT, range(len(names))) if RIGHT in row else _gold(row, names, record=record)
    before, after, is_after = "", "", False
    for literal, name, _, _ in Formatter().parse(record.template):
        text = text_of(row, name) if name not in (None, CANDIDATE) else ""
        if is_after:
            after += literal + text
        else:
            before += literal + text
        is_after = is_after or name == CANDIDATE
    return choice_item(example_id, names, context=before, parts=record.words or names, gold=gold, after=after)
