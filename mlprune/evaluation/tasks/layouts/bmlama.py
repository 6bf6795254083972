"""BMLAMA-17 and BMLAMA-53: `fr.tsv` with the columns prompt, answer, candidates and subject.

The published files list the right candidate last. Candidates are therefore put into another order, which depends on the
number of the row alone and is the same in all languages: a tie, a default or an index says nothing about the answer.

The files do not name relations. An item's category is its prompt with `[X]` for the subject, in English if there is an
English file, and its cluster is named by the first row with the same subject.
"""

import hashlib
from collections.abc import Iterator, Sequence

from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import CATEGORY, CLUSTER, ItemGroup, Row
from mlprune.evaluation.tasks.layouts import layout
from mlprune.languages import ENGLISH

HEADER = ("Prompt", "Ans", "Candidate")
"""Beginnings of the first columns; `zh.tsv` of BMLAMA-17 has a tab inside the name `Candidate Ans`."""
SEPARATOR = ", "
SUBJECT = "[X]"
"""Stands for the subject in the name of a relation, as in mLAMA."""


def candidate_order(example_id: int | str, n: int) -> list[int]:
    """Return the published positions of n candidates in the order of the SHA-256 of "example_id:position"."""
    return sorted(range(n), key=lambda position: hashlib.sha256(f"{example_id}:{position}".encode()).digest())


def find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    """Yield the tables with BMLAMA's header."""
    for file in layout.files_named(tree, rf"{layout.LANGUAGE}\.tsv", splits={}):
        header = (layout.first_cells(tree.file(file.name)) or [[]])[0]
        if len(header) >= len(HEADER) and all(map(str.startswith, header, HEADER)):
            yield file


def read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Read the rows of a table; the candidates are put into another order."""
    table = layout.tab_separated(tree.file(file.name))[1:]
    groups = _groups(tree, file, n_rows=len(table))
    rows = (_row(number, values, group) for number, (values, group) in enumerate(zip(table, groups, strict=True)))
    return layout.marked_skipped(rows, what="a single candidate")


def _row(number: int, values: Sequence[str], group: ItemGroup) -> Row | None:
    """Return a row of the task `facts`, or None if there is nothing to choose."""
    prompt, answer, listed = layout.cells(values, len(HEADER), line=number + 2)
    candidates = listed.split(SEPARATOR)
    if answer not in candidates:
        message = "the answer is not a candidate"
        raise TaskFileError(message, example=number, line=number + 2, expected=candidates, got=answer)
    if len(candidates) == 1:
        return None
    ordered = [candidates[position] for position in candidate_order(number, len(candidates))]
    row = {"id": number, "prompt": prompt, "candidates": ordered, "answer": ordered.index(answer)}
    return {**row, CLUSTER: group.cluster, CATEGORY: group.category}


def _groups(tree: layout.FileTree, file: layout.TaskFile, *, n_rows: int) -> Sequence[ItemGroup]:
    """Return the groups of the rows as the English file next to a file has them, or the first one without English.

    Names of two subjects can be equal in some languages only; read from one file, clusters are equal in all languages.
    """
    folder = file.name.rpartition("/")[0]
    siblings = [other for other in find(tree) if other.name.rpartition("/")[0] == folder]
    reference = next((other for other in siblings if other.language == ENGLISH), siblings[0])
    table = layout.tab_separated(tree.file(reference.name))[1:]
    if len(table) != n_rows:
        table = layout.tab_separated(tree.file(file.name))[1:]
    first_rows: dict[str, int] = {}
    groups = []
    for number, values in enumerate(table):
        subject = values[-1].strip() if len(values) > len(HEADER) else ""
        cluster = first_rows.setdefault(subject, number) if subject else number
        relation = values[0].replace(subject, SUBJECT, 1) if subject and subject in values[0] else ""
        groups.append(ItemGroup(str(cluster), relation))
    return groups
