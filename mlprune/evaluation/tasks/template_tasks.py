"""A task of a user's own: one frozen record that a recipe writes down, and the `Task` it makes.

The same record serves code: `template_task(TemplateTask(...))`. Tasks that come with the package are in `tasks.py`.
"""

from dataclasses import dataclass
from functools import partial
from string import Formatter
from typing import Literal

from mlprune.errors import RecipeError
from mlprune.evaluation.tasks.items import ChoiceItem, Row, choice, place_of, text_of, texts_of
from mlprune.evaluation.tasks.task import CHOICE_METRICS, LABEL_METRICS, Task

CANDIDATE = "candidate"
"""The field of a template that each candidate fills."""


@dataclass(frozen=True)
class TemplateTask:
    """A choice between candidates, described by a template.

    Raises:
        RecipeError: the template has not `{candidate}` exactly once, or a field that is no plain name; or there are
            fewer than two labels, or as many words as there are not labels.
    """

    name: str
    template: str
    """The whole text: `{key}` stands for a text of the row, `{candidate}` for each candidate."""
    answer: str
    """Key of the right candidate: its index from 0, or as it is written among the labels or candidates."""
    labels: tuple[str, ...] = ()
    """Labels as the files write them, the same for all rows."""
    words: tuple[str, ...] = ()
    """What a template says for each label; empty: the labels themselves."""
    candidates: str | None = None
    """Instead of labels: the key under which a row lists its candidates."""
    ties: Literal["earlier", "shared"] = "earlier"
    """Of equal candidates the earlier one is predicted, or they share the credit (`shared`)."""

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
        """What a row has to have besides its id."""
        return tuple(dict.fromkeys([*self.texts, self.answer]))

    @property
    def texts(self) -> tuple[str, ...]:
        """Those of them whose texts are in the example's language."""
        wanted = [name for name in self._fields() if name != CANDIDATE]
        return tuple(dict.fromkeys([*wanted, *([self.candidates] if self.candidates else [])]))


def template_task(record: TemplateTask) -> Task:
    """The task that a record describes."""
    return Task(
        record.name,
        LABEL_METRICS if record.labels else CHOICE_METRICS,
        record.keys,
        partial(_item, record=record),
        ties=record.ties,
        texts=record.texts,
        answer=record.answer if record.candidates else None,
    )


def _item(example_id: str, row: Row, *, record: TemplateTask) -> ChoiceItem:
    """A row filled into the template."""
    names = record.labels or tuple(texts_of(row, str(record.candidates)))
    gold = place_of(row, record.answer, names)
    before, after, seen = "", "", False
    for literal, name, _, _ in Formatter().parse(record.template):
        text = text_of(row, name) if name not in (None, CANDIDATE) else ""
        if seen:
            after += literal + text
        else:
            before += literal + text
        seen = seen or name == CANDIDATE
    return choice(example_id, names, context=before, parts=record.words or names, gold=gold, after=after)
