"""BMLAMA-17 and BMLAMA-53: `fr.tsv` with the columns prompt, answer, candidates and subject.

The published files list the right candidate last. Candidates are therefore put into another order, which depends on the
number of the row alone and is the same in all languages: a tie, a default or an index says nothing about the answer.
"""

import hashlib
from collections.abc import Iterator, Sequence

from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import Row
from mlprune.evaluation.tasks.layouts.file_tree import FileTree
from mlprune.evaluation.tasks.layouts.layout import LANGUAGE, TaskFile, TaskLayout, files_named
from mlprune.evaluation.tasks.layouts.tab_separated import cells, first_cells, tab_separated, without_skipped

HEADER = ("Prompt", "Ans", "Candidate")
"""Beginnings of the first columns; `zh.tsv` of BMLAMA-17 has a tab inside the name `Candidate Ans`."""
SEPARATOR = ", "


def candidate_order(example_id: int, n: int) -> list[int]:
    """Return the published positions of n candidates in the order of the SHA-256 of "example_id:position"."""
    return sorted(range(n), key=lambda position: hashlib.sha256(f"{example_id}:{position}".encode()).digest())


def _find(tree: FileTree) -> Iterator[TaskFile]:
    for file in files_named(tree, rf"{LANGUAGE}\.tsv", splits={}):
        header = (first_cells(tree.file(file.name)) or [[]])[0]
        if len(header) >= len(HEADER) and all(map(str.startswith, header, HEADER)):
            yield file


def _read(tree: FileTree, file: TaskFile) -> Sequence[Row]:
    table = tab_separated(tree.file(file.name))[1:]
    rows = (_row(number, values) for number, values in enumerate(table))
    return without_skipped(rows, what="a single candidate", file=file.name)


def _row(number: int, values: Sequence[str]) -> Row | None:
    """Return a row of the task `facts`, or None if there is nothing to choose."""
    prompt, answer, listed = cells(values, len(HEADER), line=number + 2)
    candidates = listed.split(SEPARATOR)
    if answer not in candidates:
        message = "the answer is not a candidate"
        raise TaskFileError(message, example=number, line=number + 2, expected=candidates, got=answer)
    if len(candidates) == 1:
        return None
    ordered = [candidates[position] for position in candidate_order(number, len(candidates))]
    return {"id": number, "prompt": prompt, "candidates": ordered, "answer": ordered.index(answer)}


LAYOUT = TaskLayout("bmlama", ("facts",), "fr.tsv with the columns Prompt, Ans, Candidate Ans", _find, _read)
