"""Belebele: `Belebele/fra_Latn.jsonl`, one file per language; a question is the same by its link and number."""

from collections.abc import Iterator, Sequence

from mlprune.corpus.text_files import read_json_lines
from mlprune.evaluation.tasks.builtin import belebele
from mlprune.evaluation.tasks.items import Row
from mlprune.evaluation.tasks.layouts.layout import LANGUAGE, FileTree, TaskFile, TaskLayout, files_named, first_object

KEYS = {"link", "question_number", *belebele.TASK.keys}


def _find(tree: FileTree) -> Iterator[TaskFile]:
    for file in files_named(tree, rf"{LANGUAGE}\.jsonl", splits={}):
        if set(first_object(tree.file(file.name))) >= KEYS:
            yield file


def _read(tree: FileTree, file: TaskFile) -> Sequence[Row]:
    rows = read_json_lines(tree.file(file.name))
    return [{**row, "id": f"{row.get('link')}#{row.get('question_number')}"} for row in rows]


LAYOUT = TaskLayout("belebele", ("belebele",), "Belebele/fra_Latn.jsonl", _find, _read)
