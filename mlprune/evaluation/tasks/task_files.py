"""Read checked items from task files and corpora, apply limits, and report on the data at a path."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np

from mlprune.corpus import cldr_facts
from mlprune.corpus.data_report import DataReport, DataRow
from mlprune.counted import counted
from mlprune.errors import BlankTextError, TaskFileError
from mlprune.evaluation.tasks.builtin.facts import facts_item
from mlprune.evaluation.tasks.hub_datasets import HubSource, hub_rows
from mlprune.evaluation.tasks.items import (
    MOST_OTHER_ANSWERS,
    ChoiceItem,
    ItemGroup,
    Row,
    TranslationItem,
    clusters_of,
    groups_of,
    groups_sha256,
    sentence_item,
    with_group,
)
from mlprune.evaluation.tasks.layouts.layout import TaskLayout
from mlprune.evaluation.tasks.layouts.task_layouts import TASK_LAYOUTS, FoundRows, rows_at
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.evaluation.tasks.task import Task
from mlprune.hashing import digest, ordered_by_hash, split_of
from mlprune.languages import ENGLISH
from mlprune.numeric.evaluation.metrics import guess_credit
from mlprune.vocabulary import DELIMITED_SUFFIXES, HalvesName, SplitName

logger = logging.getLogger(__name__)

Item: TypeAlias = ChoiceItem | TranslationItem
CORPUS = "corpus"
"""Path of a task that reads the recipe's corpus."""
BLANK = "with a blank text"
"""Reason for which rows of every task are skipped."""
MAX_NAMES = 5
"""Most names of rows or files in one line about skipped rows."""


@dataclass(frozen=True)
class TaskData:
    """The items of one task, language and split."""

    items: tuple[Item, ...]
    """Items in the order of the file."""
    content_sha256: str
    """Hash of all rows or lines that were read, before split and limit, without keys that the task does not read."""
    path: str
    lines: Mapping[str, int]
    """Id -> line, from 0, of all rows that were read."""
    rows: Mapping[str, Row] = field(default_factory=dict)
    """Id -> row of the items; empty if the items are lines of parallel text."""
    groups_sha256: str = ""
    """Hash of the clusters and categories of all rows or lines that were read; empty if there are none."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> number of rows without an item, except those that the task drops by design."""
    blank: tuple[str, ...] = ()
    """Ids of the rows that are skipped because a text is blank."""

    def keep(self, items: tuple[Item, ...]) -> "TaskData":
        """The same data with only some of its items."""
        ids = {item.example_id for item in items}
        return replace(self, items=items, rows={key: row for key, row in self.rows.items() if key in ids})


def read_items(
    task: str | Task,
    source: Path | HubSource,
    *,
    language: str,
    split: str,
    limit: int | None = None,
    seed: int = 0,
    aligned: bool = True,
) -> TaskData:
    """Read the items of one language and split of a task.

    Args:
        task: a task, or the name of one in `TASKS`.
        source: a folder, file or archive in one of `TASK_LAYOUTS`, or the data set of a hub.
        language: a tag such as `fr`; the file may also be named `fra_Latn`.
        limit: number of items to keep, those with the smallest SHA-256 of "seed:id".
        aligned: whether the same id is the same example in all languages; if not, ids begin with the language.
    Raises:
        TaskFileError: there is no such file or more than one, a row is wrong (the first one is named), no item is left,
            or the data set cannot be fetched.
    """
    definition = TASKS[task] if isinstance(task, str) else task
    if definition.to_item is None:
        raise TaskFileError(
            "this task reads parallel text, not task files", task=definition.name, expected="a corpus", got=str(source)
        )
    place = {"task": definition.name, "language": language, "split": split}
    try:
        rows, where, skipped, has_lines = _rows(source, definition, language=language, split=split)
    except TaskFileError as err:
        raise TaskFileError(err.message, {**place, **err.context}) from err
    if not aligned:
        rows = [{**row, "id": f"{language}:{row['id']}"} if "id" in row else row for row in rows]
    lines, ids, blank = _checked(definition, rows, where, has_lines=has_lines, **place)
    kept = set(ordered_by_hash(seed, ids)[:limit])
    groups = _groups(definition, rows, where, **place)
    made = ((definition.to_item(name, rows[lines[name]]), groups[lines[name]]) for name in ids if name in kept)
    items = tuple(with_group(item, group) for item, group in made if item is not None)
    content = digest([{key: row[key] for key in ("id", *definition.keys)} for row in rows])
    rows_of_items = {item.example_id: rows[lines[item.example_id]] for item in items}
    return TaskData(
        items,
        content,
        where,
        lines,
        rows_of_items,
        groups_sha256(dict(zip(lines, groups, strict=True))),
        skipped={**skipped, **({BLANK: len(blank)} if blank else {})},
        blank=tuple(blank),
    )


def skipped_lines(read: Mapping[str, TaskData]) -> list[str]:
    """Describe the skipped rows of some files in one line per reason, with the number in all and some names.

    Args:
        read: language, or language and split -> what was read.
    """
    totals = Counter({reason: 0 for data in read.values() for reason in data.skipped})
    for data in read.values():
        totals.update(data.skipped)
    lines = []
    for reason, total in totals.items():
        places = [place for place, data in read.items() if reason in data.skipped]
        names = [f"{place} {name}" for place in places for name in read[place].blank] if reason == BLANK else places
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        lines.append(f"{counted(total, 'row')} skipped, {reason}: {', '.join(names[:MAX_NAMES])}{more}")
    return lines


@cache
def log_once(line: str) -> None:
    """Log a line about skipped rows, once per process: a plan reads the items of a task for several purposes."""
    logger.warning("%s", line)


def _checked(
    definition: Task, rows: Sequence[Row], where: str, *, has_lines: bool, **place: str
) -> tuple[Mapping[str, int], Sequence[str], Sequence[str]]:
    """Return id -> number of all rows, the ids of those with an item, and of those with a blank text.

    Items are not kept, as a limit may drop most.

    Args:
        where: the file, for messages.
        place: task, language and split, for messages.
    Raises:
        TaskFileError: a row is wrong, or no row has an item.
    """
    assert definition.to_item is not None, "the task reads rows"
    lines: dict[str, int] = {}
    ids: list[str] = []
    blank: list[str] = []
    for number, row in enumerate(rows):
        try:
            example_id = _example_id(row, keys=definition.keys, seen=lines)
            item = _item_of(definition, example_id, row, blank)
        except TaskFileError as err:
            line = {"line": number + 1} if has_lines else {}
            context = {"file": where, **line, "example": row.get("id"), **place, **err.context}
            raise TaskFileError(err.message, context) from err
        lines[example_id] = number
        if item is not None:
            ids.append(example_id)
    if not ids:
        n_blank = {"n_blank": len(blank)} if blank else {}
        raise TaskFileError("the file has no items", file=where, **place, expected="at least one", got=0, **n_blank)
    return lines, ids, blank


def _item_of(definition: Task, example_id: str, row: Row, blank: list[str]) -> Item | None:
    """Return the item of a row; None, with its id in `blank`, if a text is blank."""
    assert definition.to_item is not None, "the task reads rows"
    try:
        return definition.to_item(example_id, row)
    except BlankTextError:
        blank.append(example_id)
        return None


def _groups(definition: Task, rows: Sequence[Row], where: str, **place: str) -> list[ItemGroup]:
    """Return the clusters and categories of checked rows."""
    keys = {"cluster_key": definition.cluster_key, "category_key": definition.category_key}
    try:
        return groups_of(rows, definition.groups, **keys)
    except TaskFileError as err:
        raise TaskFileError(err.message, {"file": where, **place, **err.context}) from err


def _rows(source: Path | HubSource, definition: Task, *, language: str, split: str) -> FoundRows:
    """Read all rows of a language and split."""
    if isinstance(source, HubSource):
        found = hub_rows(source, language=language, split=split)
        return FoundRows(*found, has_lines=not found[1].endswith(DELIMITED_SUFFIXES))
    return rows_at(source, definition.description, task=definition.name, language=language, split=split)


def corpus_items(
    task: str,
    lines: Mapping[str, Sequence[str]],
    *,
    language: str,
    target: str | None = None,
    split: SplitName | None = None,
    split_by: HalvesName = "items",
    limit: int | None = None,
    seed: int = 0,
    documents: Sequence[ItemGroup] = (),
) -> TaskData:
    """Build items from a parallel corpus: sentences for perplexity, pairs for translation, and CLDR's held-out facts.

    Args:
        lines: language -> its sentences, aligned; empty for facts.
        language: the language, for translation the source language.
        target: the target language of translation.
        split: the half of the items to use; None uses all. An item is in `split_of` its id or, by clusters, of its
            cluster.
        limit: as in `read_items`.
        documents: cluster and category of each sentence; empty if the text does not state them.
    Raises:
        TaskFileError: the corpus has no items for this task or language, is not aligned, or no item is left.
    """
    plain, content = _corpus_content(task, lines, languages=(language, *([target] if target else [])))
    groups = _fact_groups() if task == "facts" else dict(zip(plain, documents, strict=bool(documents)))
    items = {key: with_group(item, groups.get(key, ItemGroup())) for key, item in plain.items()}
    names = dict(zip(items, clusters_of(list(items.values())), strict=True)) if split_by == "clusters" else {}
    kept = {key: item for key, item in items.items() if split is None or split_of(names.get(key, key)) == split}
    if not kept:
        got = f"{len(items)} in both halves"
        raise TaskFileError("the corpus has no items", task=task, language=language, split=split or "whole", got=got)
    numbers = {key: number for number, key in enumerate(items)}
    limited = _limited(kept, limit=limit, seed=seed)
    return TaskData(limited, content, CORPUS, numbers, groups_sha256=groups_sha256(groups))


def _corpus_content(
    task: str, lines: Mapping[str, Sequence[str]], *, languages: tuple[str, ...]
) -> tuple[Mapping[str, Item], str]:
    """Build all items by id; also return the hash of their sources."""
    if task == "facts":
        rows = _held_out_facts(languages[0])
        return {str(row["id"]): facts_item(str(row["id"]), row) for row in rows}, digest(rows)
    reads = TASKS[task].reads if task in TASKS else "candidates"
    if reads in ("candidates", "questions"):
        expected = ["facts", *(name for name, known in TASKS.items() if known.traits.reads_parallel_text)]
        raise TaskFileError("a corpus has no items of this task", task=task, expected=expected, got=CORPUS)
    n_sides = 2 if reads == "pairs" else 1
    if len(languages) != n_sides:
        raise TaskFileError("wrong number of languages", task=task, expected=n_sides, got=languages)
    sides = [_side(lines, language) for language in languages]
    if len({len(side) for side in sides}) > 1:
        lengths = [len(side) for side in sides]
        raise TaskFileError("the corpus is not aligned", languages=languages, expected="equal lengths", got=lengths)
    make = TranslationItem if reads == "pairs" else sentence_item
    items = {str(number): make(str(number), *sentences) for number, sentences in enumerate(zip(*sides, strict=True))}
    return items, digest([list(side) for side in sides])


def _side(lines: Mapping[str, Sequence[str]], language: str) -> Sequence[str]:
    """Return the checked sentences of one language of the corpus."""
    if language not in lines:
        raise TaskFileError("the corpus lacks a language", language=language, expected=sorted(lines), got=language)
    for number, sentence in enumerate(lines[language], start=1):
        if not sentence.strip():
            raise TaskFileError(
                "an empty sentence", file=CORPUS, language=language, line=number, expected="a text", got=sentence
            )
    return lines[language]


def _fact_groups() -> Mapping[str, ItemGroup]:
    """Return fact id -> its subject, a territory except for months, and its relation, for CLDR's held-out facts."""
    held_out = (fact for fact in cldr_facts.facts() if cldr_facts.is_held_out(fact.fact_id))
    return {fact.fact_id: ItemGroup(fact.subject, fact.relation) for fact in held_out}


def _held_out_facts(language: str) -> list[Row]:
    if language not in cldr_facts.LANGUAGES:
        raise TaskFileError(
            "the corpus has no facts in this language", language=language, expected=cldr_facts.LANGUAGES, got=language
        )
    return [cldr_facts.item(fact, language) for fact in cldr_facts.facts() if cldr_facts.is_held_out(fact.fact_id)]


def _example_id(row: Row, *, keys: Sequence[str], seen: Mapping[str, int]) -> str:
    """Return the row's id as text, after checking that all keys exist and the id is new."""
    missing = [key for key in ("id", *keys) if key not in row]
    if missing:
        raise TaskFileError("a row lacks keys", expected=("id", *keys), got=sorted(row), missing=missing)
    value = row["id"]
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise TaskFileError("wrong id", key="id", expected="an integer or a text", got=value)
    if str(value) in seen:
        raise TaskFileError(
            "an id occurs twice", key="id", expected="unique ids", got=value, first=seen[str(value)] + 1
        )
    return str(value)


def _limited(items: Mapping[str, Item], *, limit: int | None, seed: int) -> tuple[Item, ...]:
    """Return the items that a limit keeps, in their order."""
    kept = set(ordered_by_hash(seed, items)[:limit])
    return tuple(item for example_id, item in items.items() if example_id in kept)


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


Answers: TypeAlias = Mapping[str, tuple[int, int]]
"""Example id -> number of candidates and index of the right one."""


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
