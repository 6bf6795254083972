"""Read checked items from task files and corpora, and apply limits."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TypeAlias

from mlprune.corpus import cldr_facts
from mlprune.counted import counted
from mlprune.errors import BlankTextError, EqualCandidatesError, SkippedRowError, TaskFileError
from mlprune.evaluation.tasks.builtin.facts import facts_item
from mlprune.evaluation.tasks.hub_datasets import HubSource, hub_rows
from mlprune.evaluation.tasks.items import (
    ChoiceItem,
    ItemGroup,
    Row,
    TranslationItem,
    clusters_of,
    first_categories,
    groups_of,
    groups_sha256,
    sentence_item,
    with_group,
)
from mlprune.evaluation.tasks.layouts.layout import LayoutRows, RowPlace
from mlprune.evaluation.tasks.layouts.task_layouts import rows_at
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.evaluation.tasks.task import Task
from mlprune.hashing import digest, ordered_by_hash, split_of
from mlprune.vocabulary import DELIMITED_SUFFIXES, HalvesName

logger = logging.getLogger(__name__)

Item: TypeAlias = ChoiceItem | TranslationItem
CORPUS = "corpus"
"""Path of a task that reads the recipe's corpus."""
SKIPPED_ROWS: Mapping[type[SkippedRowError], str] = {
    BlankTextError: "with a blank text",
    EqualCandidatesError: "with equal candidates",
}
"""Error about a row that is skipped -> the reason as text."""
MAX_NAMES = 5
"""Most names of rows or files in one line about skipped rows."""


@dataclass(frozen=True)
class ItemSelection:
    """The items of a task that are read."""

    language: str
    """A tag such as `fr`; for translation, the source language."""
    split: str = ""
    """Name of the split; of a corpus, the half `dev` or `test`, or empty for all items."""
    limit: int | None = None
    """Number of items to keep, those with the smallest SHA-256 of "seed:id"; None for all."""
    seed: int = 0
    """Seed of the hashes of a limit."""


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
    earlier_groups_sha256: str = ""
    """The same with one category of each row, as tasks whose rows have several read them before."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> number of rows without an item, except those that the task drops by design."""
    skipped_ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Reason -> ids of the skipped rows, for the reasons of `SKIPPED_ROWS`."""
    n_of_split: int = 0
    """Number of items of the split before a limit."""

    def keep(self, items: tuple[Item, ...]) -> "TaskData":
        """The same data with only some of its items."""
        ids = {item.example_id for item in items}
        return replace(self, items=items, rows={key: row for key, row in self.rows.items() if key in ids})


def read_items(
    task: str | Task,
    source: Path | HubSource,
    selection: ItemSelection,
    *,
    aligned: bool = True,
) -> TaskData:
    """Read the items of one language and split of a task.

    Args:
        task: a task, or the name of one in `TASKS`.
        source: a folder, file or archive in one of `TASK_LAYOUTS`, or the data set of a hub.
        selection: with a split; the file of a language `fr` may also be named `fra_Latn`.
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
    language = selection.language
    place = {"task": definition.name, "language": language, "split": selection.split}
    try:
        found = _rows(source, definition, language=language, split=selection.split)
    except TaskFileError as err:
        raise type(err)(err.message, {**place, **err.context}) from err
    rows = found.rows
    if not aligned:
        rows = [{**row, "id": f"{language}:{row['id']}"} if "id" in row else row for row in rows]
        found = found._replace(rows=rows)
    lines, ids, skipped_ids = _checked(definition, found, **place)
    kept = set(ordered_by_hash(selection.seed, ids)[: selection.limit])
    groups = _groups(definition, rows, found.origin, **place)
    by_id = dict(zip(lines, groups, strict=True))
    made = ((definition.to_item(name, rows[lines[name]]), groups[lines[name]]) for name in ids if name in kept)
    items = tuple(with_group(item, group) for item, group in made if item is not None)
    content = digest([{key: row[key] for key in ("id", *definition.keys)} for row in rows])
    rows_of_items = {item.example_id: rows[lines[item.example_id]] for item in items}
    return TaskData(
        items,
        content,
        found.origin,
        lines,
        rows_of_items,
        groups_sha256(by_id),
        groups_sha256(first_categories(by_id)),
        skipped={**found.skipped, **_numbers(skipped_ids)},
        skipped_ids=skipped_ids,
        n_of_split=len(ids),
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
        names = [f"{place} {name}" for place in places for name in read[place].skipped_ids.get(reason, ())] or places
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        lines.append(f"{counted(total, 'row')} skipped, {reason}: {', '.join(names[:MAX_NAMES])}{more}")
    return lines


@cache
def log_once(line: str) -> None:
    """Log a line about skipped rows, once per process: a plan reads the items of a task for several purposes."""
    logger.warning("%s", line)


def _numbers(skipped_ids: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return reason -> number of skipped rows."""
    return {reason: len(names) for reason, names in skipped_ids.items()}


def _checked(
    definition: Task, found: LayoutRows, **place: str
) -> tuple[Mapping[str, int], Sequence[str], Mapping[str, tuple[str, ...]]]:
    """Return id -> number of all rows, the ids of those with an item, and reason -> ids of those that are skipped.

    Items are not kept, as a limit may drop most.

    Args:
        place: task, language and split, for messages.
    Raises:
        TaskFileError: a row is wrong, or no row has an item.
    """
    assert definition.to_item is not None, "the task reads rows"
    lines: dict[str, int] = {}
    ids: list[str] = []
    skipped: dict[str, tuple[str, ...]] = {}
    for number, row in enumerate(found.rows):
        try:
            example_id = _example_id(row, keys=definition.keys)
            if example_id in lines:
                raise _repeated_id(row, found, first=lines[example_id])
            item = _item_of(definition, example_id, row, skipped)
        except TaskFileError as err:
            raise TaskFileError(err.message, {**found.context_of(number), **place, **err.context}) from err
        lines[example_id] = number
        if item is not None:
            ids.append(example_id)
    if not ids:
        numbers = {"skipped": _numbers(skipped)} if skipped else {}
        raise TaskFileError(
            "the file has no items", file=found.origin, **place, expected="at least one", got=0, **numbers
        )
    return lines, ids, skipped


def _item_of(definition: Task, example_id: str, row: Row, skipped: dict[str, tuple[str, ...]]) -> Item | None:
    """Return the item of a row; None, with its id added to those of the reason, if the row is skipped."""
    assert definition.to_item is not None, "the task reads rows"
    try:
        return definition.to_item(example_id, row)
    except SkippedRowError as err:
        reason = SKIPPED_ROWS[type(err)]
        skipped[reason] = (*skipped.get(reason, ()), example_id)
        return None


def _groups(definition: Task, rows: Sequence[Row], where: str, **place: str) -> list[ItemGroup]:
    """Return the clusters and categories of checked rows."""
    keys = {"cluster_key": definition.cluster_key, "category_key": definition.category_key}
    try:
        return groups_of(rows, definition.groups, **keys)
    except TaskFileError as err:
        raise TaskFileError(err.message, {"file": where, **place, **err.context}) from err


def _rows(source: Path | HubSource, definition: Task, *, language: str, split: str) -> LayoutRows:
    """Read all rows of a language and split."""
    if isinstance(source, HubSource):
        rows, origin, skipped = hub_rows(source, language=language, split=split)
        has_lines = not origin.endswith(DELIMITED_SUFFIXES)
        numbers = range(1, len(rows) + 1) if has_lines else ()
        return LayoutRows(rows, origin, skipped, [RowPlace(origin, number, number) for number in numbers])
    return rows_at(source, definition.description, task=definition.name, language=language, split=split)


def corpus_items(
    task: str,
    lines: Mapping[str, Sequence[str]],
    selection: ItemSelection,
    *,
    target: str | None = None,
    split_by: HalvesName = "items",
    documents: Sequence[ItemGroup] = (),
) -> TaskData:
    """Build items from a parallel corpus: sentences for perplexity, pairs for translation, and CLDR's held-out facts.

    Args:
        lines: language -> its sentences, aligned; empty for facts.
        target: the target language of translation.
        split_by: an item is in the half `split_of` its id or, by clusters, of its cluster.
        documents: cluster and category of each sentence; empty if the text does not state them.
    Raises:
        TaskFileError: the corpus has no items for this task or language, is not aligned, or no item is left.
    """
    language, split = selection.language, selection.split
    plain, content = _corpus_content(task, lines, languages=(language, *([target] if target else [])))
    groups = _fact_groups() if task == "facts" else dict(zip(plain, documents, strict=bool(documents)))
    items = {key: with_group(item, groups.get(key, ItemGroup())) for key, item in plain.items()}
    names = dict(zip(items, clusters_of(list(items.values())), strict=True)) if split_by == "clusters" else {}
    kept = {key: item for key, item in items.items() if not split or split_of(names.get(key, key)) == split}
    if not kept:
        got = f"{len(items)} in both halves"
        raise TaskFileError("the corpus has no items", task=task, language=language, split=split or "whole", got=got)
    numbers = {key: number for number, key in enumerate(items)}
    limited = _limited(kept, limit=selection.limit, seed=selection.seed)
    sha256 = groups_sha256(groups)
    return TaskData(limited, content, CORPUS, numbers, groups_sha256=sha256, n_of_split=len(kept))


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


def _repeated_id(row: Row, found: LayoutRows, *, first: int) -> TaskFileError:
    """Return the error for an id that an earlier row has, too.

    Args:
        first: number of that row, from 0.
    """
    place = found.places[first] if found.places else RowPlace(found.origin, first + 1)
    other = (place.line or place.row) if place.file == found.origin else f"{place.file}, {place.line or place.row}"
    return TaskFileError("an id occurs twice", key="id", expected="unique ids", got=row["id"], first=other)


def _example_id(row: Row, *, keys: Sequence[str]) -> str:
    """Return the row's id as text, after checking that all keys exist."""
    missing = [key for key in ("id", *keys) if key not in row]
    if missing:
        raise TaskFileError("a row lacks keys", expected=("id", *keys), got=sorted(row), missing=missing)
    value = row["id"]
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise TaskFileError("wrong id", key="id", expected="an integer or a text", got=value)
    return str(value)


def _limited(items: Mapping[str, Item], *, limit: int | None, seed: int) -> tuple[Item, ...]:
    """Return the items that a limit keeps, in their order."""
    kept = set(ordered_by_hash(seed, items)[:limit])
    return tuple(item for example_id, item in items.items() if example_id in kept)
