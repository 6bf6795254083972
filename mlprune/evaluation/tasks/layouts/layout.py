"""Description of a published layout: which files it consists of, and how their rows become rows of a task."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mlprune.errors import CorpusError, TaskFileError
from mlprune.evaluation.tasks.items import Row, split_skipped
from mlprune.evaluation.tasks.layouts.file_tree import FileTree, file_tree, is_archive
from mlprune.languages import language_tag

LANGUAGE = r"(?P<language>[A-Za-z]{2,3}(?:[-_][A-Za-z]{2,4})?)"
"""Part of a pattern of file names that matches a language: `fr`, `fra_Latn`, `zh-Hant`, `pt-BR`."""


@dataclass(frozen=True)
class TaskFile:
    """The rows of one language and split."""

    name: str
    """Name of the file in its tree; several languages can share a file."""
    language: str
    """Tag of the language."""
    split: str
    """Split as recipes name it."""


@dataclass(frozen=True)
class TaskLayout:
    """A published layout of the data of some tasks."""

    name: str
    tasks: tuple[str, ...]
    """Built-in tasks that read its rows."""
    summary: str
    """Names of its files, for messages and documentation."""
    find: Callable[[FileTree], Iterator[TaskFile]]
    """Find the files of this layout in a tree, without those of other layouts."""
    read: Callable[[FileTree, TaskFile], Sequence[Row]]
    """Read the rows of one language and split, with the keys of the task, or only `SKIPPED`."""

    has_lines: bool = False
    """Whether row i is line i + 1 of the file."""

    def recognises(self, path: Path) -> bool:
        """Whether a path has a file of this layout."""
        return next(self.find(file_tree(path)), None) is not None

    def languages(self, path: Path) -> Mapping[str, tuple[str, ...]]:
        """Return the splits of each language at a path."""
        splits: dict[str, set[str]] = defaultdict(set)
        for file in self.find(file_tree(path)):
            splits[file.language].add(file.split)
        return {language: tuple(sorted(splits[language])) for language in sorted(splits)}

    def rows(self, path: Path, language: str, split: str) -> "LayoutRows":
        """Return the rows of a language and split, each with an `id`, and the file they come from.

        Raises:
            TaskFileError: there is no such file or more than one, or it cannot be read.
        """
        tree = file_tree(path)
        files = [file for file in self.find(tree) if (file.language, file.split) == (language, split)]
        if len(files) != 1:
            message = "several files have this language and split" if files else "no file has this language and split"
            got = [tree.origin(file.name) for file in files] or dict(self.languages(path))
            raise TaskFileError(message, layout=self.name, language=language, split=split, expected="one file", got=got)
        return self.rows_of(tree, files[0])

    def rows_of(self, tree: FileTree, file: TaskFile) -> "LayoutRows":
        """Return the rows of a language and split in a file, and the file's place.

        Raises:
            TaskFileError: it cannot be read.
        """
        origin = tree.origin(file.name)
        try:
            rows, skipped = split_skipped(self.read(tree, file))
        except (CorpusError, TaskFileError) as err:
            place = {} if "file" in err.context and not is_archive(tree.path) else {"file": origin}
            raise TaskFileError(err.message, {**err.context, **place}) from err
        return LayoutRows(rows, origin, skipped)


class LayoutRows(NamedTuple):
    """The rows of one language and split."""

    rows: Sequence[Row]
    origin: str
    """The file."""
    skipped: Mapping[str, int] = {}
    """Reason -> number of rows that the layout skips for it."""


def files_named(tree: FileTree, pattern: str, *, splits: Mapping[str, str], split: str = "test") -> Iterator[TaskFile]:
    """Yield the files whose names end with a pattern, plain or compressed.

    Args:
        pattern: regular expression with the group `language`, and `split` unless all files are of one split.
        splits: part of the name -> split of recipes.
        split: the split if the pattern has no such group.
    """
    compiled = re.compile(rf"(?:.*/)?{pattern}(?:\.gz|\.zst)?")
    for name in tree.names:
        match = compiled.fullmatch(name)
        if match is not None:
            groups = match.groupdict()
            yield TaskFile(name, language_tag(groups["language"]), splits[groups["split"]] if splits else split)
