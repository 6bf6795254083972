"""Reports on the task data at a path: languages, splits, right answers, and a line of a recipe that reads them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from mlprune.capabilities.inspection.data_report import DataReport, DataRow
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import MOST_OTHER_ANSWERS, ChoiceItem
from mlprune.evaluation.tasks.layouts.layout import TaskLayout
from mlprune.evaluation.tasks.layouts.task_layouts import TASK_LAYOUTS
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.evaluation.tasks.task_files import Item, ItemSelection, TaskData, read_items, skipped_lines
from mlprune.languages import ENGLISH
from mlprune.numeric.evaluation.metrics import guess_credit

DEFAULT_SPLIT = "test"
"""Split that an evaluation reads if the recipe names none."""
Answers: TypeAlias = Mapping[str, tuple[int, int]]
"""Example id -> number of candidates and index of the right one."""


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
            data = read_items(tasks[0], path, ItemSelection(language, name))
        except TaskFileError as err:
            problems.append(str(err))
            continue
        read[f"{language} {name}"] = data
        rows.append(_data_row(language, name, data.items))
        n_repeated = len(data.items) - len({_texts(item) for item in data.items})
        if n_repeated:
            notes.append(f"{language} {name}: repeated examples: {n_repeated:,}")
    notes += skipped_lines(read)
    others, aligned = _other_items(read)
    recipe = _recipe(tasks[0], path, rows, aligned=aligned)
    notes += others
    return DataReport(layout.name, layout.summary, recipe, tuple(rows), tuple(problems), tuple(notes))


def _texts(item: Item) -> tuple[str, ...]:
    return item.texts if isinstance(item, ChoiceItem) else (item.source,)


def _data_row(language: str, split: str, items: Sequence[Item]) -> DataRow:
    choices = [item for item in items if isinstance(item, ChoiceItem)]
    if not choices:
        (text,), answer = _texts(items[0]), getattr(items[0], "reference", "").partition("\n")[0]
        return DataRow(language, "", split, len(items), " ".join(f"{text} {answer}".split()))
    first = " ".join(choices[0].texts[choices[0].gold].split())
    return DataRow(language, "", split, len(choices), first, _answers(choices), _chance(choices))


def _other_items(read: Mapping[str, TaskData]) -> tuple[list[str], bool]:
    """Describe the ids that have another right answer than in a reference language, and so name other items.

    The reference of a split is English, else the language with the most items.

    Args:
        read: language and split -> what was read.
    Returns: one line for each language and split with such ids; whether ids name the same items in all languages.
    """
    by_split: dict[str, dict[str, Answers]] = {}
    for place, data in read.items():
        language, split = place.split(" ", 1)
        items = (item for item in data.items if isinstance(item, ChoiceItem))
        of_items = {item.example_id: (len(item.candidates), item.gold) for item in items}
        by_split.setdefault(split, {})[language] = of_items
    lines, aligned = [], True
    for split, of_languages in by_split.items():
        reference = ENGLISH if ENGLISH in of_languages else max(of_languages, key=lambda name: len(of_languages[name]))
        for language, answers in of_languages.items():
            n_common, n_other = _count_other_answers(answers, of_languages[reference])
            if not n_other:
                continue
            line = f"{language} {split}: {n_other:,} of {n_common:,} ids have another right answer than in {reference}"
            is_other_file = n_other > MOST_OTHER_ANSWERS * n_common
            advice = "; aligned: false keeps ids of different languages apart" if is_other_file else ""
            lines.append(f"{line}: other items, which are never paired{advice}")
            aligned = aligned and not is_other_file
    return lines, aligned


def _count_other_answers(first: Answers, second: Answers) -> tuple[int, int]:
    """Return the number of common ids, and of those with as many candidates but another right one."""
    pairs = [(answer, second[name]) for name, answer in first.items() if name in second]
    return len(pairs), sum(a != b and a[0] == b[0] for a, b in pairs)


def _recipe(task: str, path: Path, rows: Sequence[DataRow], *, aligned: bool) -> str:
    """Return the line of a recipe that reads all languages that can be read; empty if there are none."""
    splits = list(dict.fromkeys(row.split for row in rows))
    split = DEFAULT_SPLIT if DEFAULT_SPLIT in splits and len(splits) > 1 else next(iter(splits), None)
    if split is None:
        return ""
    languages = ", ".join(row.language for row in rows if row.split == split)
    key = "" if split == DEFAULT_SPLIT and len(splits) > 1 else f", split: {split}"
    ids = "" if aligned else ", aligned: false"
    return f"evaluations: [{{task: {task}, path: {path}, languages: [{languages}]{key}{ids}}}]"


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
    answers = Counter(item.gold for item in items)
    positions = [f"candidate {gold + 1}" for gold in range(max(answers) + 1)]
    names = items[0].candidates if _is_labelled(items) else positions
    return {names[gold]: answers[gold] for gold in sorted(answers)}


def _is_labelled(items: Sequence[ChoiceItem]) -> bool:
    return len({item.candidates for item in items}) == 1


def _chance(items: Sequence[ChoiceItem]) -> float:
    """Return the accuracy of guessing."""
    sizes, gold = np.array([(len(item.candidates), item.gold) for item in items]).T
    return float(guess_credit(sizes, gold, labelled=_is_labelled(items)).mean())
