"""Reports on the data of tasks at a path: languages, splits, numbers of examples and labels, and wrong rows."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlprune.corpus.data_report import DataReport, DataRow
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.evaluation.tasks.layouts.layout import TaskLayout
from mlprune.evaluation.tasks.layouts.task_layouts import TASK_LAYOUTS
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.evaluation.tasks.task_files import TaskData, read_items, skipped_lines
from mlprune.numeric.evaluation.metrics import guess_credit

DEFAULT_SPLIT = "test"
"""Split that an evaluation reads if the recipe names none."""


def task_reports(path: Path, *, task: str | None = None, split: str | None = None) -> list[DataReport]:
    """Read all languages and splits of each layout of task data at a path.

    Args:
        task: read only layouts of this task.
        split: the only split to read.
    """
    layouts = [layout for layout in TASK_LAYOUTS.values() if task is None or task in layout.tasks]
    return [_report(layout, path, task=task, split=split) for layout in layouts if layout.recognises(path)]


def _report(layout: TaskLayout, path: Path, *, task: str | None, split: str | None) -> DataReport:
    places = [
        (language, name)
        for language, splits in layout.languages(path).items()
        for name in splits
        if split in (None, name)
    ]
    tasks = (task,) if task else _fitting_tasks(layout, path, places)
    rows: list[DataRow] = []
    read: dict[str, TaskData] = {}
    problems: list[str] = [] if places else [f"no split {split}"]
    notes = [f"also read by {', '.join(tasks[1:])}"] if tasks[1:] else []
    for language, name in places:
        try:
            data = read_items(tasks[0], path, language=language, split=name)
        except TaskFileError as err:
            problems.append(str(err))
            continue
        read[f"{language} {name}"] = data
        items = [item for item in data.items if isinstance(item, ChoiceItem)]
        first = " ".join(items[0].texts[items[0].gold].split())
        rows.append(DataRow(language, "", name, len(items), first, _answers(items), _chance(items)))
        n_repeated = len(items) - len({item.texts for item in items})
        if n_repeated:
            notes.append(f"{language} {name}: repeated examples: {n_repeated:,}")
    notes += skipped_lines(read)
    recipe = _recipe(tasks[0], path, rows)
    return DataReport(layout.name, layout.summary, recipe, tuple(rows), tuple(problems), tuple(notes))


def _recipe(task: str, path: Path, rows: Sequence[DataRow]) -> str:
    """Return the line of a recipe that reads all languages that can be read; empty if there are none."""
    splits = list(dict.fromkeys(row.split for row in rows))
    split = DEFAULT_SPLIT if DEFAULT_SPLIT in splits and len(splits) > 1 else next(iter(splits), None)
    if split is None:
        return ""
    languages = ", ".join(row.language for row in rows if row.split == split)
    key = "" if split == DEFAULT_SPLIT and len(splits) > 1 else f", split: {split}"
    return f"evaluations: [{{task: {task}, path: {path}, languages: [{languages}]{key}}}]"


def _fitting_tasks(layout: TaskLayout, path: Path, places: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The tasks of a layout whose keys the first row has; all of them if there is none."""
    for language, split in places[:1]:
        try:
            rows = layout.rows(path, language, split).rows
        except TaskFileError:
            break
        keys = set(rows[0]) if rows else set()
        fitting = tuple(name for name in layout.tasks if keys >= set(TASKS[name].keys))
        return fitting or layout.tasks
    return layout.tasks


def _answers(items: Sequence[ChoiceItem]) -> dict[str, int]:
    """The number of examples of each right answer: labels, or positions if the candidates differ between examples."""
    is_labelled = _is_labelled(items)
    answers = Counter(item.gold for item in items)
    names = items[0].candidates if is_labelled else [f"candidate {gold + 1}" for gold in range(max(answers) + 1)]
    return {names[gold]: answers[gold] for gold in sorted(answers)}


def _is_labelled(items: Sequence[ChoiceItem]) -> bool:
    return len({item.candidates for item in items}) == 1


def _chance(items: Sequence[ChoiceItem]) -> float:
    """Return the accuracy of guessing."""
    sizes, gold = np.array([(len(item.candidates), item.gold) for item in items]).T
    return float(guess_credit(sizes, gold, labelled=_is_labelled(items)).mean())
