"""The description of a task: its rows, items and metrics; also tasks described by a template.

Tasks described by a template: the record that a recipe contains, and the `Task` built from it.

Code can use the same record: `template_task(TemplateTask(...))`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from string import Formatter
from typing import Literal

from mlprune.errors import RecipeError, TaskFileError
from mlprune.evaluation.tasks.hub_datasets import HubSet
from mlprune.evaluation.tasks.items import (
    CATEGORY,
    CLUSTER,
    ChoiceItem,
    Row,
    RowGroups,
    choice_item,
    index_of,
    no_groups,
    text_of,
    texts_of,
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


@dataclass(frozen=True)
class Task:
    """A task in any language."""

    name: str
    metrics: tuple[str, ...]
    keys: tuple[str, ...] = ()
    """Keys that a row must have in addition to its id; empty for tasks that read parallel text."""
    to_item: Callable[..., ChoiceItem | None] | None = None
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
    layouts: tuple[TaskLayout, ...] = field(default=(), compare=False)
    """Layouts of its published files that no other task has; `TASK_LAYOUTS` lists all layouts."""

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
        """Kind of the items: candidates, sentences or pairs."""
        return self.traits.reads


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


CANDIDATE = "candidate"
"""Field of a template that is filled with each candidate."""


@dataclass(frozen=True)
class TemplateTask:
    """A choice between candidates, described by a template.

    Raises:
        RecipeError: the template does not contain `{candidate}` exactly once, or a field is not a plain name; or there
            are fewer than two labels, or the numbers of words and labels differ.
    """

    name: str
    template: str
    """The whole text: `{key}` is replaced by a text of the row, `{candidate}` by each candidate."""
    answer: str
    """Key of the right candidate: its index from 0, or its text among the labels or candidates."""
    labels: tuple[str, ...] = ()
    """Labels as they are in the files, equal for all rows."""
    words: tuple[str, ...] = ()
    """Word for each label in the template; empty for the labels themselves."""
    candidates: str | None = None
    """Instead of labels: the key of the list of candidates in a row."""
    ties: Literal["earlier", "shared"] = "earlier"
    """Of candidates with equal scores the earlier one is predicted, or they share the credit (`shared`)."""
    cluster: str | None = None
    """Key of the name that rows depending on each other have in common; by default `cluster`, if rows have it."""
    category: str | None = None
    """Key of the kind of a row; by default `category`, if rows have it."""

    def __post_init__(self) -> None:
        fields = self._fields()
        if fields.count(CANDIDATE) != 1 or not all(name.isidentifier() for name in fields):
            expected = "{candidate} once, and other {keys} of a row"
            raise RecipeError("a template is wrong", task=self.name, expected=expected, got=self.template)
        if bool(self.labels) == (self.candidates is not None):
            raise RecipeError("a task has labels or candidates", task=self.name, expected="one of the two")
        if self.labels and (len(set(self.labels)) < 2 or len(self.labels) != len(set(self.labels))):
            raise RecipeError("wrong labels", task=self.name, expected="two or more, all different", got=self.labels)
        if self.words and len(self.words) != len(self.labels):
            raise RecipeError("wrong words", task=self.name, expected=f"one for each of {self.labels}", got=self.words)

    def _fields(self) -> list[str]:
        try:
            parsed = list(Formatter().parse(self.template))
        except ValueError as err:
            raise RecipeError("a template is wrong", task=self.name, reason=str(err), got=self.template) from err
        plain = (name if not spec and not conversion else f"{name}:" for _, name, spec, conversion in parsed if name)
        return [*plain, *("" for _, name, _, _ in parsed if name == "")]

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys that a row must have in addition to its id."""
        return tuple(dict.fromkeys([*self.texts, self.answer]))

    @property
    def texts(self) -> tuple[str, ...]:
        """Keys whose texts are in the example's language."""
        names = [name for name in self._fields() if name != CANDIDATE]
        return tuple(dict.fromkeys([*names, *([self.candidates] if self.candidates else [])]))


def without_groups(record: TemplateTask | None) -> TemplateTask | None:
    """Return a task without the keys of its clusters and categories, which are not part of ids: their values are."""
    return None if record is None else replace(record, cluster=None, category=None)


def template_task(record: TemplateTask) -> Task:
    """Build the task that a record describes."""
    return Task(
        record.name,
        LABEL_METRICS if record.labels else CHOICE_METRICS,
        record.keys,
        partial(_item, record=record),
        ties=record.ties,
        texts=record.texts,
        cluster_key=record.cluster or CLUSTER,
        category_key=record.category or CATEGORY,
        answer=record.answer if record.candidates else None,
    )


def _item(example_id: str, row: Row, *, record: TemplateTask) -> ChoiceItem:
    """Fill a row into the template."""
    names = record.labels or tuple(texts_of(row, str(record.candidates)))
    gold = index_of(row, record.answer, names)
    before, after, is_after = "", "", False
    for literal, name, _, _ in Formatter().parse(record.template):
        text = text_of(row, name) if name not in (None, CANDIDATE) else ""
        if is_after:
            after += literal + text
        else:
            before += literal + text
        is_after = is_after or name == CANDIDATE
    return choice_item(example_id, names, context=before, parts=record.words or names, gold=gold, after=after)
