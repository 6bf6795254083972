"""Data sets of a hub as task files: the files of each language and split, and the columns of their rows.

A built-in task describes its published data set with a `HubSet`; a recipe may describe others. Files are tables at one
commit of the data set's repository. Code in a repository is never run.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import cast

from mlprune.corpus.row_files import SUFFIXES, read_rows
from mlprune.errors import CorpusError, HubError, RecipeError, TaskFileError
from mlprune.evaluation.tasks.items import Row
from mlprune.hub import snapshot
from mlprune.languages import language_file_stems
from mlprune.vocabulary import HUB

logger = logging.getLogger(__name__)

Pairs = tuple[tuple[str, str], ...]

USUAL_SPLITS: Pairs = (("dev", "validation"), ("test", "test"))
CONVERTED = "refs/convert/parquet"
"""Where a hub keeps its own conversion of a data set that is published with a loading script, as plain tables."""


@dataclass(frozen=True)
class HubSet:
    """How a data set of a hub is read.

    Raises:
        RecipeError: a pattern names files that are no tables, or has a placeholder that means nothing.
    """

    name: str
    files: tuple[str, ...]
    """Patterns of the files of one language and split, with `{config}` and `{split}`; `*` stands for any characters."""
    revision: str = "main"
    """Used where the path says none."""
    splits: Pairs = USUAL_SPLITS
    """Split of a recipe -> what the files call it. There are no others."""
    configs: Pairs = ()
    """Language -> what the files call it; of others first the tag is looked up, then FLORES-200's code."""
    columns: Pairs = ()
    """Key of a task -> column of the files, where the two differ."""
    id: tuple[str, ...] = ()
    """Columns that together are an example's id, the same in all languages; none: the number of its row, from 0."""
    aligned: bool = True
    """Whether rows of one number are one example in all languages; otherwise their ids name the language."""
    skips_incomplete: bool = False
    """Whether rows that were published without a text, or with the label -1, are passed over instead of refused."""

    def __post_init__(self) -> None:
        for pattern in self.files:
            unknown = set(re.findall(r"{(.*?)}", pattern)) - {"config", "split"}
            if unknown or not pattern.endswith(SUFFIXES):
                expected = f"{{config}}, {{split}}, and an ending of {SUFFIXES}"
                raise RecipeError("wrong files of a hub's data set", name=self.name, expected=expected, got=pattern)

    def patterns(self, language: str, split: str) -> list[tuple[str, ...]]:
        """Patterns of a language's files under each name the language may have there, in the order they are tried.

        Raises:
            TaskFileError: the data set has no such split.
        """
        splits, configs = dict(self.splits), dict(self.configs)
        if split not in splits:
            raise TaskFileError("the data set has no such split", name=self.name, expected=sorted(splits), got=split)
        names = (configs[language],) if language in configs else language_file_stems(language)
        return [tuple(pattern.format(config=config, split=splits[split]) for pattern in self.files) for config in names]


@dataclass(frozen=True)
class HubSource:
    """Where a recipe finds a task's rows on a hub."""

    data: HubSet
    revision: str
    """As the recipe asks for it."""
    commit: str = ""
    """What the revision was when the recipe was planned; empty before that."""

    def __str__(self) -> str:
        return f"{self.data.name}@{self.revision}"


def hub_source(path: str, known: Mapping[str, HubSet]) -> HubSource:
    """What a path such as `hub:facebook/xnli@v1` stands for; no hub is asked.

    Raises:
        RecipeError: the data set is not among the known ones.
    """
    name, _, revision = path.removeprefix(HUB).partition("@")
    if name not in known:
        message = "an unknown data set of a hub: the recipe's section data_sets can describe it"
        raise RecipeError(message, expected=sorted(known), got=name)
    return HubSource(known[name], revision or known[name].revision)


@cache
def pinned(source: HubSource, languages: tuple[str, ...], split: str) -> HubSource:
    """The source at one commit, with the files of some languages fetched.

    Raises:
        TaskFileError: the data set has no such split, or cannot be fetched.
    """
    patterns = [one for language in languages for group in source.data.patterns(language, split) for one in group]
    return replace(source, commit=_fetched(source, patterns).name)


def hub_rows(source: HubSource, *, language: str, split: str) -> tuple[list[Row], str]:
    """The rows of one language and split, each with an `id` and the keys of its task, and where they are from.

    Args:
        source: pinned to a commit; what is not in this machine's cache is fetched.
    Raises:
        TaskFileError: the data set has no such split or language, or cannot be fetched or read.
    """
    groups = source.data.patterns(language, split)
    folder = _fetched(source, [pattern for group in groups for pattern in group])
    paths = next((found for group in groups if (found := _matching(folder, group))), None)
    where = f"{source.data.name}@{source.commit}"
    if paths is None:
        expected = [pattern for group in groups for pattern in group]
        raise TaskFileError("the data set has no such files", name=where, language=language, expected=expected, got=0)
    try:
        rows = [row for path in paths for row in read_rows(path)]
    except CorpusError as err:
        raise TaskFileError(err.message, err.context) from err
    names = " ".join(str(path.relative_to(folder)) for path in paths)
    return list(_renamed(rows, source.data, language=language)), f"{where}/{names}"


def _fetched(source: HubSource, patterns: Sequence[str]) -> Path:
    try:
        return snapshot(source.data.name, kind="dataset", revision=source.commit or source.revision, files=patterns)
    except HubError as err:
        raise TaskFileError(f"a data set {err.message}", err.context) from err


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Files of the first pattern that any matches, in the order of their names."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    found = ([name for name in files if fnmatchcase(name, pattern)] for pattern in patterns)
    return [folder / name for name in next(filter(None, found), [])]


def _renamed(rows: Sequence[Row], data: HubSet, *, language: str) -> Iterator[Row]:
    """Rows with the keys of a task, without those that are passed over; numbers count all rows.

    Raises:
        TaskFileError: a row lacks a column of the id.
    """
    n_skipped = 0
    for number, row in enumerate(rows):
        missing = [column for column in data.id if column not in row]
        if missing:
            raise TaskFileError("a data set has other columns", name=data.name, expected=data.id, got=sorted(row))
        if data.skips_incomplete and any(map(_is_missing, row.values())):
            n_skipped += 1
            continue
        own = {key: row[column] for key, column in data.columns if column in row}
        yield {**row, **own, "id": _id(row, data, number=number, language=language)}
    if n_skipped:
        logger.warning("%s, %s: %d rows without a text or label passed over", data.name, language, n_skipped)


def _is_missing(value: object) -> bool:
    return value is None or value == -1 or (isinstance(value, str) and not value.strip())


def _id(row: Row, data: HubSet, *, number: int, language: str) -> int | str:
    if data.id:
        values = [row[column] for column in data.id]
        found = cast("int | str", values[0]) if len(values) == 1 else "#".join(map(str, values))
        return found if data.aligned else f"{language}:{found}"
    return number if data.aligned else f"{language}:{number}"
