"""Self-translation: which texts of a task's examples are translated, and the examples made of the translations.

Where a task says which keys of a row hold the example's language, those are translated one by one and put into the
English template. Where only whole texts make sense (a gap would not survive), each candidate's whole text is
translated. Etxaniz et al. 2023, arXiv:2308.01223.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.evaluation.tasks.task import Task
from mlprune.evaluation.tasks.task_files import TaskData

WHOLE = "text"
"""What whole texts are called, in the place of a key."""


@dataclass(frozen=True)
class SourceText:
    """A text that is to be translated."""

    example_id: str
    key: str
    """Of the row it is from, or `WHOLE`."""
    place: int
    """In a list of texts, or the candidate's index."""
    text: str


def source_texts(task: Task, data: TaskData) -> tuple[SourceText, ...]:
    """All texts of a task's examples in their own language, example after example."""
    return tuple(one for item in data.items if isinstance(item, ChoiceItem) for one in _texts_of(task, data, item))


def _texts_of(task: Task, data: TaskData, item: ChoiceItem) -> Iterator[SourceText]:
    if not task.texts:
        yield from (SourceText(item.example_id, WHOLE, place, text) for place, text in enumerate(item.texts))
        return
    row = data.rows[item.example_id]
    for key in task.texts:
        for place, text in enumerate(_texts(row[key])):
            kept = text if task.most_words is None else " ".join(text.split()[: task.most_words])
            yield SourceText(item.example_id, key, place, kept)


def in_english(task: Task, data: TaskData, translations: Mapping[tuple[str, str, int], str]) -> tuple[ChoiceItem, ...]:
    """The examples of a task as they read in English, with the right answers and the names of candidates they have.

    Args:
        translations: (example, key, place) -> text; all of `source_texts`.
    """
    items = [item for item in data.items if isinstance(item, ChoiceItem)]
    return tuple(_in_english(task, data, item, translations) for item in items)


def _in_english(
    task: Task, data: TaskData, item: ChoiceItem, translations: Mapping[tuple[str, str, int], str]
) -> ChoiceItem:
    if not task.texts:
        texts = tuple(translations[item.example_id, WHOLE, place] for place in range(len(item.texts)))
        return replace(item, texts=texts, starts=())
    row = dict(data.rows[item.example_id])
    for key in task.texts:
        found = [translations[item.example_id, key, n] for n in range(len(_texts(row[key])))]
        row[key] = found if isinstance(row[key], list) else found[0]
    if task.answer is not None:
        row[task.answer] = item.gold  # its text has another name in English
    assert task.to_item is not None, "only tasks with candidates are translated"
    made = task.to_item(item.example_id, row)
    assert made is not None, "an example that was kept stays"
    return replace(made, candidates=item.candidates, gold=item.gold)


def _texts(value: object) -> list[str]:
    """The texts of a value of a row: those of a list, or the value itself."""
    return [str(text) for text in value] if isinstance(value, list) else [str(value)]
