"""Description of a published layout: its files, tables with tabs, and how rows become rows of a task.

Published tables with columns separated by tabs, whose quotes are bare in some files and enclose values in others.

Also the beginnings of files in other formats, by which layouts recognise them.
"""

import csv
import lzma
import os
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

from mlprune.corpus.layouts.text_layout import recipe_tags
from mlprune.corpus.parquet_files import parquet_columns
from mlprune.corpus.text_files import open_binary, open_text, read_cells, read_lines
from mlprune.errors import CorpusError, TaskFileError
from mlprune.evaluation.tasks.items import SKIPPED, Row, split_skipped
from mlprune.given_files import expanded_limit
from mlprune.json_values import JsonValue, parse_json
from mlprune.languages import language_tag
from mlprune.vocabulary import ARCHIVES

MOST_FILES = 20_000
"""Maximum number of files to examine; mLAMA in all its languages has about 7,000."""
MOST_MEMBERS = 200_000
"""Most files of an archive."""
MOST_LEVELS = 4
"""Maximum depth of folders to search."""
CHUNK_BYTES = 1 << 20
"""Bytes that are decompressed at a time."""
MOST_BYTES = 1 << 28
"""Maximum size of a member, decompressed: 256 MiB. The largest published file of a task has about 100 MB."""
ARCHIVE_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, RuntimeError)
"""Errors of archives that are damaged, encrypted or compressed in an unknown way."""
LANGUAGE = r"(?P<language>[A-Za-z]{2,3}(?:[-_][A-Za-z]{2,4})?)"
"""Part of a pattern of file names that matches a language: `fr`, `fra_Latn`, `zh-Hant`, `pt-BR`."""


@dataclass(frozen=True)
class FileTree:
    """The files at a path."""

    path: Path
    names: tuple[str, ...]
    """Sorted names, which begin with the name of the folder or archive: `x-final/fr/dev_2k.tsv`."""

    def file(self, name: str) -> Path:
        """Return a path from which a file can be read; a member of an archive is extracted first.

        Raises:
            TaskFileError: the archive is damaged.
        """
        if not is_archive(self.path):
            return self.path.parent / name if self.path.is_file() else self.path / name.partition("/")[2]
        return _extracted(self.path, name.partition("/")[2], _version(self.path))

    def origin(self, name: str) -> str:
        """Return the place of a file, for messages."""
        return str(self.path) if self.path.is_file() and not is_archive(self.path) else self._below(name)

    def _below(self, name: str) -> str:
        return str(self.path / name.partition("/")[2])


def file_tree(path: Path) -> FileTree:
    """List the files at a path, without hidden ones; there are none if the path does not exist.

    Raises:
        TaskFileError: an archive is damaged, or has a member that is too large.
    """
    if path.is_dir():
        root = path.resolve().name
        return FileTree(path, tuple(sorted(f"{root}/{name}" for name in islice(_below(path), MOST_FILES))))
    if is_archive(path):
        return FileTree(path, tuple(f"{path.name}/{name}" for name in _members(path, _version(path))))
    return FileTree(path, (path.name,) if path.is_file() else ())


def is_archive(path: Path) -> bool:
    """Whether a path is an archive."""
    return path.name.endswith(ARCHIVES) and path.is_file()


def _below(folder: Path) -> Iterator[str]:
    """Yield the relative names of the files of a folder, in a fixed order."""
    for parent, folders, files in os.walk(folder):
        place = Path(parent).relative_to(folder)
        is_deepest = len(place.parts) + 1 >= MOST_LEVELS
        folders[:] = [] if is_deepest else sorted(name for name in folders if not _is_hidden(name))
        yield from ((place / name).as_posix() for name in sorted(files) if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__"))


def _version(path: Path) -> tuple[int, int]:
    """Return size and time of change, which key the caches of an archive."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=8)
def _members(archive: Path, version: tuple[int, int]) -> tuple[str, ...]:
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as opened:
                sizes = [(info.filename, info.file_size) for info in opened.infolist() if not info.is_dir()]
        else:
            with _opened_tar(archive) as tar:
                files = (member for member in tar if _is_small_file(member, archive))
                sizes = [(member.name.removeprefix("./"), member.size) for member in islice(files, MOST_MEMBERS + 1)]
    except ARCHIVE_ERRORS as err:
        raise TaskFileError("an archive cannot be read", file=str(archive), reason=str(err)) from err
    _require_bounded(archive, sizes)
    names = (name for name, _ in sizes)
    return tuple(sorted(name for name in names if not any(map(_is_hidden, name.split("/")))))


def _is_small_file(member: tarfile.TarInfo, archive: Path) -> bool:
    """Whether a member is a file. To find the next one, a compressed archive decompresses it, so its size is bounded.

    Raises:
        TaskFileError: it is too large.
    """
    if member.size > MOST_BYTES:
        raise _too_large(archive, member.name)
    return member.isfile()


def _too_large(archive: Path, member: str) -> TaskFileError:
    expected = f"at most {MOST_BYTES:,} bytes"
    message = "a file in an archive is too large"
    return TaskFileError(message, file=str(archive), member=member, expected=expected, got="more")


def _require_bounded(archive: Path, sizes: Sequence[tuple[str, int]]) -> None:
    """Refuse an archive with very many members, or that expands to very many times its size."""
    limit, n_bytes = expanded_limit(archive), sum(size for _, size in sizes)
    if len(sizes) > MOST_MEMBERS:
        message, expected = "an archive has too many members", f"at most {MOST_MEMBERS:,}"
        raise TaskFileError(message, file=str(archive), expected=expected)
    if n_bytes > limit:
        message, expected = "an archive expands too much", f"at most {limit:,} bytes"
        raise TaskFileError(message, file=str(archive), expected=expected, got=n_bytes)


@contextmanager
def _opened_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar archive for reading from its start to its end."""
    with open_binary(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        yield tar


@cache
def _extracted(archive: Path, member: str, version: tuple[int, int]) -> Path:
    """Copy a member into a temporary folder of this process, once."""
    target = Path(tempfile.mkdtemp(dir=_scratch().name)) / Path(member).name
    try:
        with _opened_member(archive, member) as content, target.open("wb") as stream:
            n_left = MOST_BYTES  # the size that the archive states may be wrong
            while chunk := content.read(min(CHUNK_BYTES, n_left + 1)):
                stream.write(chunk)
                n_left -= len(chunk)
                if n_left < 0:
                    raise _too_large(archive, member)
    except ARCHIVE_ERRORS as err:
        raise TaskFileError("an archive cannot be read", file=str(archive), member=member, reason=str(err)) from err
    return target


@contextmanager
def _opened_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened, opened.open(member) as content:
            yield content
        return
    with _opened_tar(archive) as tar:
        info = next(info for info in tar if info.isfile() and info.name.removeprefix("./") == member)
        extracted = tar.extractfile(info)
        assert extracted is not None, "a regular file has content"
        with extracted:
            yield extracted


@cache
def _scratch() -> "tempfile.TemporaryDirectory[str]":
    """Make the temporary folder, which is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="mlprune-archive-")


def tab_separated(path: Path) -> list[list[str]]:
    """Return the cells of each line that is not empty, without the quotes that enclose values; see `numbered_cells`."""
    return [row for _, row in numbered_cells(path)]


def numbered_cells(path: Path) -> list[tuple[int, list[str]]]:
    """Return the number, from 1, and the cells of each line that is not empty, separated by tabs.

    Quotes enclose values if the file is as a writer of CSV leaves it: every cell with a quote begins and ends with one
    and doubles those inside, or all cells are enclosed, or rows have as many cells as the first one only if quotes
    enclose line breaks. In other files quotes are characters of the text.

    Raises:
        CorpusError: the file cannot be read.
    """
    numbered = [(number, line) for number, line in enumerate(read_lines(path), start=1) if line]
    rows = [line.split("\t") for _, line in numbered]
    cells_with_quotes = [cell for row in rows for cell in row if '"' in cell]
    if cells_with_quotes and len({len(row) for row in rows}) > 1 and (quoted := _quoted_table(path)):
        return quoted
    if cells_with_quotes and (
        all(map(_doubles_quotes, cells_with_quotes)) or all(map(_is_enclosed, (cell for row in rows for cell in row)))
    ):
        rows = list(csv.reader((line for _, line in numbered), delimiter="\t"))
    return [(number, row) for (number, _), row in zip(numbered, rows, strict=True)]


def _quoted_table(path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows of a table whose quotes may enclose line breaks; nothing if they differ in length."""
    try:
        rows = list(read_cells(path, quoted=True))
    except CorpusError:
        return []
    return rows if len({len(row) for _, row in rows}) == 1 else []


def _is_enclosed(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")


def _doubles_quotes(cell: str) -> bool:
    return _is_enclosed(cell) and '""' in cell[1:-1]


def first_cells(path: Path, n_rows: int = 1) -> list[list[str]]:
    """Return the cells of the first lines, or of fewer if the file is shorter or cannot be read."""
    rows: list[list[str]] = []
    try:
        with open_text(path) as text:
            for _, line in zip(range(n_rows), text, strict=False):
                rows.append(line.rstrip("\r\n").split("\t"))
    except CorpusError:
        return rows
    return rows


def first_object(path: Path) -> Mapping[str, JsonValue]:
    """Return the first line of a file of JSON lines; empty if it is not an object."""
    try:
        with open_text(path) as text:
            value = parse_json(text.readline())
    except (CorpusError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def first_columns(path: Path) -> tuple[str, ...]:
    """Return the columns of a Parquet file; none if it is not one."""
    try:
        return tuple(parquet_columns(path))
    except CorpusError:
        return ()


def cells(row: Sequence[str], n: int, *, line: int) -> Sequence[str]:
    """Return the first cells of a row.

    Raises:
        TaskFileError: it has fewer.
    """
    if len(row) < n:
        raise TaskFileError("a row has too few cells", line=line, expected=n, got=len(row))
    return row[:n]


def first_keys(path: Path) -> tuple[str, ...]:
    """Return the keys of the first row of JSON lines, or the columns of a table with a header."""
    if ".jsonl" in path.name:
        return tuple(first_object(path))
    return tuple(cell for row in first_cells(path) for cell in row)


def marked_skipped(rows: Iterable[Row | None], *, what: str) -> list[Row]:
    """Return rows in which each None is replaced by a row that says why it is skipped."""
    return [{SKIPPED: what} if row is None else row for row in rows]


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
    is_other_reading: bool = False
    """Whether another layout has the same files; tasks of a recipe read that one."""

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
        places = tuple(RowPlace(origin, number, number) for number in range(1, len(rows) + 1)) if self.has_lines else ()
        return LayoutRows(rows, origin, skipped, places)


class RowPlace(NamedTuple):
    """The place of a row, for messages."""

    file: str
    row: int
    """Number of the row in its file, from 1."""
    line: int = 0
    """Its line, or the last one if it has several, from 1; 0 if rows are not lines."""
    delimiter: str | None = None
    """Delimiter of the columns; None if rows have keys."""

    @property
    def context(self) -> dict[str, object]:
        """Context of an error."""
        place = {"file": self.file, **({"line": self.line} if self.line else {"row": self.row})}
        return place if self.delimiter is None else {**place, "delimiter": self.delimiter}


class LayoutRows(NamedTuple):
    """The rows of one language and split."""

    rows: Sequence[Row]
    origin: str
    """The file."""
    skipped: Mapping[str, int] = {}
    """Reason -> number of rows that the layout skips for it."""
    places: Sequence[RowPlace] = ()
    """Place of each row; empty if the layout does not know them."""

    def context_of(self, number: int) -> dict[str, object]:
        """Return the context of an error in a row, counted from 0; with its id unless that only counts the rows."""
        example = self.rows[number].get("id")
        if not self.places:
            return {"file": self.origin, "example": example}
        place = self.places[number]
        is_number = str(example) == str(place.row - 1)
        return {**place.context, **({} if is_number or example is None else {"example": example})}


def files_named(
    tree: FileTree, pattern: str, *, splits: Mapping[str, str], split: str = "test", are_codes: bool = False
) -> Iterator[TaskFile]:
    """Yield the files whose names end with a pattern, plain or compressed.

    Args:
        pattern: regular expression with the group `language`, and `split` unless all files are of one split.
        splits: part of the name -> split of recipes.
        split: the split if the pattern has no such group.
        are_codes: whether languages are codes of other standards than recipes use, such as `swa` and `cmn_hant`.
    """
    compiled = re.compile(rf"(?:.*/)?{pattern}(?:\.gz|\.zst)?")
    matches = {name: match.groupdict() for name in tree.names if (match := compiled.fullmatch(name))}
    codes = [groups["language"] for groups in matches.values()]
    tags = recipe_tags(list(dict.fromkeys(codes))) if are_codes else {code: language_tag(code) for code in codes}
    for name, groups in matches.items():
        yield TaskFile(name, tags[groups["language"]], splits[groups["split"]] if splits else split)
