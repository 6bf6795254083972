"""Data sets of a hub as task files: the files of each language and split, and the columns of their rows.

A built-in task describes its published data set with a `HubSet`; a recipe may describe others. Files are tables at one
commit of the data set's repository. Code in a repository is never run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import cast

from mlprune.descriptions import HubSet
from mlprune.errors import CorpusError, HubError, MissingTaskFileError, RecipeError, TaskFileError
from mlprune.evaluation.tasks.items import SKIPPED, Row, split_skipped
from mlprune.evaluation.tasks.tables import are_positions, column_value, has_column, table_rows
from mlprune.hub import snapshot
from mlprune.vocabulary import HUB

LABEL = "label"
"""Key of the tasks that `labels` of a data set changes."""


@dataclass(frozen=True)
class HubSource:
    """A data set of a hub at some revision."""

    data: HubSet
    revision: str
    """Revision that the recipe asks for."""
    commits: tuple[tuple[str, str], ...] = ()
    """Repository -> commit of the revision when the recipe was planned; empty before."""

    def __str__(self) -> str:
        return f"{self.data.name}@{self.revision}"

    @property
    def repositories(self) -> tuple[tuple[str, str], ...]:
        """Each repository with its revision -> its commit."""
        return tuple((f"{name}@{self.revision}", commit) for name, commit in self.commits)


def hub_source(path: str, known: Mapping[str, HubSet]) -> HubSource:
    """Parse a path such as `hub:facebook/xnli@v1`, without access to a hub.

    Raises:
        RecipeError: the data set is unknown.
    """
    name, _, revision = path.removeprefix(HUB).partition("@")
    if name not in known:
        message = "an unknown data set of a hub: the recipe's section data_sets can describe it"
        raise RecipeError(message, expected=sorted(known), got=name)
    return HubSource(known[name], revision or known[name].revision)


@cache
def pinned(source: HubSource, languages: tuple[str, ...], split: str) -> HubSource:
    """Pin a source to one commit and fetch the files of some languages.

    Raises:
        TaskFileError: the data set has no such split, or cannot be fetched.
    """
    patterns: dict[str, list[str]] = {}
    for language in languages:
        names = [pattern for group in source.data.patterns(language, split) for pattern in group]
        patterns.setdefault(source.data.repository(language), []).extend(names)
    commits = tuple((name, _fetched(source, name, files).name) for name, files in patterns.items())
    return replace(source, commits=commits)


def hub_rows(source: HubSource, *, language: str, split: str) -> tuple[list[Row], str, dict[str, int]]:
    """Read the rows of one language and split, each with an `id` and the keys of its task.

    Also returns their origin, and reason -> number of skipped rows.

    Args:
        source: pinned to a commit; files that are not in the local cache are fetched.
    Raises:
        TaskFileError: the data set has no such split or language, or cannot be fetched or read.
    """
    groups = source.data.patterns(language, split)
    repository = source.data.repository(language)
    folder = _fetched(source, repository, [pattern for group in groups for pattern in group])
    paths = next((matches for group in groups if (matches := _matching(folder, group))), None)
    where = f"{repository}@{folder.name}"
    if paths is None:
        expected = [pattern for group in groups for pattern in group]
        message = "the data set has no such files"
        raise MissingTaskFileError(message, name=where, language=language, expected=expected, got=0)
    try:
        has_header = not are_positions(source.data.columns)
        rows = [row for path in paths for row in table_rows(path, has_header=has_header)]
    except CorpusError as err:
        raise TaskFileError(err.message, err.context) from err
    names = " ".join(str(path.relative_to(folder)) for path in paths)
    kept, skipped = split_skipped(_renamed(rows, source.data, language=language))
    return kept, f"{where}/{names}", skipped


def _fetched(source: HubSource, repository: str, patterns: Sequence[str]) -> Path:
    revision = dict(source.commits).get(repository, source.revision)
    try:
        return snapshot(repository, kind="dataset", revision=revision, files=patterns)
    except HubError as err:
        raise TaskFileError(err.message, err.context) from err


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files of the first pattern that matches any, sorted by name."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    matches = ([name for name in files if fnmatchcase(name, pattern)] for pattern in patterns)
    return [folder / name for name in next(filter(None, matches), [])]


def _renamed(rows: Sequence[Row], data: HubSet, *, language: str) -> Iterator[Row]:
    """Give rows the keys of a task, or mark them as skipped; row numbers count all rows.

    Raises:
        TaskFileError: a row lacks a column of the id.
    """
    for number, row in enumerate(rows):
        missing = [column for column in data.id if column not in row]
        if missing:
            raise TaskFileError("a data set has other columns", name=data.name, expected=data.id, got=sorted(row))
        if data.skips_incomplete and any(map(_is_missing, row.values())):
            yield {SKIPPED: "no text or label"}
            continue
        renamed = {**row, **{key: column_value(row, column) for key, column in data.columns if has_column(row, column)}}
        example_id = _id(row, data, number=number, language=language)
        yield {**renamed, **_label(renamed, data, example=example_id), "id": example_id}


def _label(row: Row, data: HubSet, *, example: int | str) -> Row:
    """Return the label of the task, if the data set has others.

    Raises:
        TaskFileError: the row has another label than the data set.
    """
    if not data.labels:
        return {}
    labels = {str(label): own for label, own in data.labels}
    got = row.get(LABEL)
    if str(got) not in labels:
        raise TaskFileError("wrong label", name=data.name, example=example, expected=list(labels), got=got)
    return {LABEL: labels[str(got)]}


def _is_missing(value: object) -> bool:
    return value is None or value == -1 or (isinstance(value, str) and not value.strip())


def _id(row: Row, data: HubSet, *, number: int, language: str) -> int | str:
    if data.id:
        values = [row[column] for column in data.id]
        example_id = cast("int | str", values[0]) if len(values) == 1 else "#".join(map(str, values))
        return example_id if data.aligned else f"{language}:{example_id}"
    return number if data.aligned else f"{language}:{number}"
