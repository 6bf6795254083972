"""Tasks described by a template: the record that a recipe contains, and the `Task` built from it.

Code can use the same record: `template_task(TemplateTask(...))`.
"""

from dataclasses import dataclass, replace
from functools import partial
from string import Formatter
from typing import Literal

from mlprune.errors import RecipeError
from mlprune.evaluation.tasks.item_groups import CATEGORY, CLUSTER
from mlprune.evaluation.tasks.items import ChoiceItem, Row, choice_item, index_of, text_of, texts_of
from mlprune.evaluation.tasks.task import CHOICE_METRICS, LABEL_METRICS, Task

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
