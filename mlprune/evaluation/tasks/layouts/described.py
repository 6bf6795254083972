"""Files of a task that a recipe describes: their names, the columns of their rows, and ids."""

import re
from collections.abc import Iterator, Sequence
from functools import partial

from mlprune.corpus.layouts.parallel_text import PAGE
from mlprune.corpus.layouts.text_layout import matching_codes
from mlprune.corpus.text_files import listed_names
from mlprune.descriptions import TemplateTask
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import Row
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.layouts.own import own_file
from mlprune.evaluation.tasks.tables import are_positions, column_value, example_id, table_rows
from mlprune.languages import language_tag
from mlprune.vocabulary import READABLE_SUFFIXES

CODE = r"(?P<language>[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*)"
"""Part of a name that matches a language."""


def described_layout(task: TemplateTask) -> layout.TaskLayout:
    """Return the layout of a task, which `described_file` searches."""
    return layout.TaskLayout(task.name, (task.name,), ", ".join(task.files), _no_files, partial(_read, task=task))


def _no_files(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    return iter(())


def described_file(tree: layout.FileTree, task: TemplateTask, *, language: str, split: str) -> layout.TaskFile | None:
    """Return the file of a language and split; None if there is none under a usual name and the task has no other.

    Raises:
        TaskFileError: the task has names, and not exactly one file matches.
    """
    if not task.files:
        return own_file(tree, language=language, split=split, suffixes=READABLE_SUFFIXES)
    codes = {name: code for pattern in task.files for name, code in _matches(tree, pattern, split)}
    wanted = matching_codes(language_tag(language), tuple(dict.fromkeys(codes.values())))
    names = [name for name, code in codes.items() if code in wanted]
    if len(names) == 1:
        return layout.TaskFile(names[0], language_tag(language), split)
    context = {"path": str(tree.path), "files": list(task.files), "language": language, "split": split, "page": PAGE}
    if names:
        expected = "one: write the language as its file does, or move the others away"
        raise TaskFileError("several files of the task match", context, expected=expected, got=names)
    expected_codes = sorted(set(codes.values())) or "a file that matches"
    raise TaskFileError("no file of the task matches", context, expected=expected_codes, got=listed_names(tree.path))


def _matches(tree: layout.FileTree, pattern: str, split: str) -> list[tuple[str, str]]:
    """Return (name, code of the language) of the files that match a pattern."""
    escaped = re.escape(pattern).replace(re.escape("*"), "[^/]*").replace(re.escape("{split}"), re.escape(split))
    first, *others = escaped.split(re.escape("{language}"))
    compiled = re.compile(f"(?:.*/)?{first}{CODE}{'(?P=language)'.join(others)}")
    matches = ((name, compiled.fullmatch(name)) for name in tree.names)
    return [(name, match["language"]) for name, match in matches if match is not None]


def _read(tree: layout.FileTree, file: layout.TaskFile, task: TemplateTask) -> Sequence[Row]:
    """Read the rows of a file with the keys of a task.

    Raises:
        CorpusError, TaskFileError: the file cannot be read, or a row lacks a column.
    """
    columns = (*task.columns, ("id", task.id)) if task.id else task.columns
    rows = table_rows(tree.file(file.name), has_header=not are_positions(columns))
    ids = task.id or (("id",) if any("id" in row for row in rows) else ())
    return [
        {**row, **{key: column_value(row, column) for key, column in task.columns}, **_id(row, ids, number)}
        for number, row in enumerate(rows)
    ]


def _id(row: Row, columns: Sequence[str | int], number: int) -> Row:
    """Return the id of a row; nothing if it lacks the usual key, which is refused where rows are checked."""
    return {} if tuple(columns) == ("id",) and "id" not in row else {"id": example_id(row, columns, number=number)}
