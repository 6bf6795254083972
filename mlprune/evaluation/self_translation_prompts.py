"""Self-translation: the texts of a task's examples that are translated, and the examples built from the translations.

If a task lists the keys of a row whose texts are in the example's language, these texts are translated one by one and
filled into the English template. Otherwise each candidate's whole text is translated, for example because a gap would
not survive translation. Etxaniz et al. 2023, arXiv:2308.01223.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.evaluation.tasks.task import Task
from mlprune.evaluation.tasks.task_files import TaskData

WHOLE = "text"
"""Key of whole texts."""


@dataclass(frozen=True)
class SourceText:
    """A text to translate."""

    example_id: str
    key: str
    """Key in the row, or `WHOLE`."""
    index: int
    """Index in a list of texts, or of the candidate."""
    text: str


def source_texts(task: Task, data: TaskData) -> tuple[SourceText, ...]:
    """Return all texts of a task's examples that are in the examples' language, example after example."""
    items = (item for item in data.items if isinstance(item, ChoiceItem))
    return tuple(text for item in items for text in _texts_of(task, data, item))


def _texts_of(task: Task, data: TaskData, item: ChoiceItem) -> Iterator[SourceText]:
    if not task.texts:
        yield from (SourceText(item.example_id, WHOLE, index, text) for index, text in enumerate(item.texts))
        return
    row = data.rows[item.example_id]
    for key in task.texts:
        for index, text in enumerate(_texts(row[key])):
            kept = text if task.most_words is None else " ".join(text.split()[: task.most_words])
            yield SourceText(item.example_id, key, index, kept)


def in_english(task: Task, data: TaskData, translations: Mapping[tuple[str, str, int], str]) -> tuple[ChoiceItem, ...]:
    """Return the examples of a task in English, with their right answers and the names of their candidates.

    Args:
        translations: (example, key, index) -> translation, for every text of `source_texts`.
    """
    items = [item for item in data.items if isinstance(item, ChoiceItem)]
    return tuple(_in_english(task, data, item, translations) for item in items)


def _in_english(
    task: Task, data: TaskData, item: ChoiceItem, translations: Mapping[tuple[str, str, int], str]
) -> ChoiceItem:
    if not task.texts:
        texts = tuple(translations[item.example_id, WHOLE, index] for index in range(len(item.texts)))
        return replace(item, texts=texts, starts=())
    row = dict(data.rows[item.example_id])
    for key in task.texts:
        translated = [translations[item.example_id, key, index] for index in range(len(_texts(row[key])))]
        row[key] = translated if isinstance(row[key], list) else translated[0]
    if task.answer is not None:
        row[task.answer] = item.gold  # by index: the text of the answer differs in English
    assert task.to_item is not None, "only tasks with candidates are translated"
    english = task.to_item(item.example_id, row)
    assert english is not None, "the task kept this example in its own language"
    return replace(english, candidates=item.candidates, gold=item.gold, cluster=item.cluster, category=item.category)


def _texts(value: object) -> list[str]:
    """The texts of a value of a row: those of a list, or the value itself."""
    return [str(text) for text in value] if isinstance(value, list) else [str(value)]
