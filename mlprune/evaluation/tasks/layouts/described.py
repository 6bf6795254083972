"""Files of a task that a recipe describes: their names, the columns of their rows, and ids."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlprune.corpus.layouts.parallel_text import PAGE
from mlprune.corpus.layouts.text_layout import matching_codes
from mlprune.corpus.text_files import listed_names
from mlprune.descriptions import TemplateTask
from mlprune.errors import CorpusError, TaskFileError
from mlprune.evaluation.tasks.items import SKIPPED, Row, is_marked_skipped, split_skipped
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.layouts.own import own_file
from mlprune.evaluation.tasks.tables import are_positions, column_value, example_id, read_table, skip_reason
from mlprune.languages import language_tag
from mlprune.vocabulary import READABLE_SUFFIXES

CODE = r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*"
"""Part of a name that matches the code of a language."""
FILE = "file"
"""Key that rows get: what `*` stands for in the name of their file."""
MOST_NAMES = 20
"""Most names of files in an error."""
WILDCARDS = re.compile(r"(\*|{language}|{split})")


@dataclass(frozen=True)
class DescribedFile:
    """A file with rows of one language and split."""

    name: str
    """Its name in the tree."""
    code: str = ""
    """The language as the name states it; empty if it does not."""
    part: str | None = None
    """What `*` stands for in its name; None if the pattern has none."""
    pattern: tuple[str, str] = ("", "")
    """The pattern, and the folders above the part of the name that it matches."""


def described_files(tree: layout.FileTree, task: TemplateTask, *, language: str, split: str) -> list[DescribedFile]:
    """Return the files of a language and split; none if there is none under a usual name and the task has no other.

    Raises:
        TaskFileError: the task has names and no file matches, or several that are not joined by `*`.
    """
    if not task.files:
        file = own_file(tree, language=language, split=split, suffixes=READABLE_SUFFIXES)
        return [] if file is None else [DescribedFile(file.name)]
    tag = language_tag(language)
    matches = [match for pattern in task.files for match in _matches(tree, pattern, task, split=split)]
    codes = tuple(dict.fromkeys(file.code for file in matches if file.code))
    names = dict(task.languages)
    wanted = (
        (names[tag],) if tag in names else matching_codes(tag, [code for code in codes if code not in names.values()])
    )
    files = list({file.name: file for file in matches if file.code in ("", *wanted)}.values())
    context = {"path": str(tree.path), "files": list(task.files), "language": language, "split": split, "page": PAGE}
    if not files:
        splits = [f"split {name}" for name in _splits(tree, task)]
        expected = sorted(codes) or splits[:MOST_NAMES] or "a file that matches"
        raise TaskFileError("no file of the task matches", context, expected=expected, got=listed_names(tree.path))
    is_joined = files[0].part is not None and len({(file.code, file.pattern) for file in files}) == 1
    if len(files) > 1 and not is_joined:
        expected = "one, or those of one folder that a * joins: write the language as its file does, or name the folder"
        raise TaskFileError("several files of the task match", context, expected=expected, got=_few(files))
    return files


def _few(files: Sequence[DescribedFile]) -> list[str]:
    names = [file.name for file in files]
    return names if len(names) <= MOST_NAMES else [*names[:MOST_NAMES], f"and {len(names) - MOST_NAMES:,} more"]


def _matches(tree: layout.FileTree, pattern: str, task: TemplateTask, *, split: str) -> Iterator[DescribedFile]:
    """Yield the files that match a pattern, in the order of their names."""
    compiled = _compiled(pattern, task, split=split)
    for name in sorted(tree.names):
        if match := compiled.fullmatch(name):
            groups = match.groupdict()
            parts = [groups[f"part{number}"] for number in range(pattern.count("*"))]
            part = "/".join(parts) if parts else None
            yield DescribedFile(name, groups.get("language", ""), part, (pattern, groups["above"] or ""))


def _splits(tree: layout.FileTree, task: TemplateTask) -> list[str]:
    """Return the splits with which files match the patterns of a task."""
    patterns = [_compiled(pattern, task, split=None) for pattern in task.files if "{split}" in pattern]
    matches = (pattern.fullmatch(name) for pattern in patterns for name in tree.names)
    return sorted({match["split"] for match in matches if match is not None})


def _compiled(pattern: str, task: TemplateTask, *, split: str | None) -> re.Pattern[str]:
    """Return the regular expression of a pattern, for one split or for any."""
    code = "|".join([*(re.escape(name) for _, name in task.languages), CODE])
    expressions = {"*": "[^/]*", "{language}": code, "{split}": "[^/]+" if split is None else re.escape(split)}
    pieces = ["(?P<above>.*/)?"]
    groups: list[str] = []
    for piece in WILDCARDS.split(pattern):
        if piece not in expressions:
            pieces.append(re.escape(piece))
            continue
        name = f"part{len([group for group in groups if group.startswith('part')])}" if piece == "*" else piece[1:-1]
        pieces.append(f"(?P={name})" if name in groups else f"(?P<{name}>{expressions[piece]})")
        groups.append(name)
    return re.compile("".join(pieces))


def described_rows(tree: layout.FileTree, files: Sequence[DescribedFile], *, task: TemplateTask) -> layout.LayoutRows:
    """Read the rows of some files with the keys of a task, without those that it skips.

    Raises:
        TaskFileError: a file cannot be read, or a row lacks a column.
    """
    rows: list[Row] = []
    places: list[layout.RowPlace] = []
    for file in files:
        for place, row in _rows_of(tree, file, task, is_joined=len(files) > 1):
            rows.append(row)
            places.append(place)
    kept, skipped = split_skipped(rows)
    kept_places = [place for place, row in zip(places, rows, strict=True) if not is_marked_skipped(row)]
    origin = tree.origin(files[0].name) if len(files) == 1 else f"{tree.path}/{', '.join(task.files)}"
    return layout.LayoutRows(kept, origin, skipped, kept_places)


def _rows_of(
    tree: layout.FileTree, file: DescribedFile, task: TemplateTask, *, is_joined: bool
) -> Iterator[tuple[layout.RowPlace, Row]]:
    """Yield the place and the row of each row of a file; only `SKIPPED` of those that the task skips.

    Args:
        is_joined: whether ids begin with the part of the file.
    """
    origin = tree.origin(file.name)
    columns = (*task.columns, *((column, column) for column, _ in task.skip), *((("id", task.id),) if task.id else ()))
    path = tree.file(file.name)
    try:
        if layout.is_archive(path):
            path = _only_member(path)
        table = read_table(path, has_header=not are_positions(columns), delimiter=task.delimiter)
    except (CorpusError, TaskFileError) as err:
        raise TaskFileError(err.message, {**err.context, "file": origin}) from err
    ids = task.id or (("id",) if any("id" in row for row in table.rows) else ())
    for number, row in enumerate(table.rows):
        place = layout.RowPlace(origin, number + 1, table.lines[number] if table.lines else 0, table.delimiter)
        try:
            if reason := skip_reason(row, task.skip):
                yield place, {SKIPPED: reason}
                continue
            keys = {key: column_value(row, column) for key, column in task.columns}
            name = _id(row, ids, number)
        except TaskFileError as err:
            raise TaskFileError(err.message, {**place.context, **err.context}) from err
        part = {} if file.part is None else {FILE: file.part}
        yield place, {**part, **row, **keys, **(_joined(name, file) if is_joined else name)}


def _only_member(archive: Path) -> Path:
    """Return the one file of an archive that a file of the task is.

    Raises:
        TaskFileError: it has another number of readable files.
    """
    tree = layout.file_tree(archive)
    names = [name for name in tree.names if name.endswith(READABLE_SUFFIXES)]
    if len(names) != 1:
        expected, got = "one file; name the archive as path to read one of several", names or list(tree.names)
        raise TaskFileError("an archive has another number of task files", expected=expected, got=got[:MOST_NAMES])
    return tree.file(names[0])


def _id(row: Row, columns: Sequence[str | int], number: int) -> Row:
    """Return the id of a row; nothing if it lacks the usual key, which is refused where rows are checked."""
    return {} if tuple(columns) == ("id",) and "id" not in row else {"id": example_id(row, columns, number=number)}


def _joined(name: Row, file: DescribedFile) -> Row:
    """Return the id of a row of joined files; a value that is not an id is refused where rows are checked."""
    value = name.get("id")
    is_id = isinstance(value, int | str) and not isinstance(value, bool) and value != ""
    return {"id": f"{file.part}#{value}"} if is_id else name
