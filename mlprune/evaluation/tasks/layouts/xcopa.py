"""XCOPA's repository: `data/sw/val.sw.jsonl` and `data/sw/test.sw.jsonl`.

The folder `data-gmt` is left out: it has machine translations into English. English itself is COPA, which is
not in the repository.
"""

from collections.abc import Iterator, Sequence

from mlprune.corpus.text_files import read_json_lines
from mlprune.evaluation.tasks.items import Row
from mlprune.evaluation.tasks.layouts.layout import LANGUAGE, FileTree, TaskFile, TaskLayout, files_named, first_object

SPLITS = {"train": "train", "val": "dev", "test": "test"}
KEYS = {"premise", "choice1", "choice2", "question", "label", "idx"}


def _find(tree: FileTree) -> Iterator[TaskFile]:
    for file in files_named(tree, rf"(?P<split>train|val|test)\.{LANGUAGE}\.jsonl", splits=SPLITS):
        if "data-gmt" not in file.name.split("/") and set(first_object(tree.file(file.name))) >= KEYS:
            yield file


def _read(tree: FileTree, file: TaskFile) -> Sequence[Row]:
    return [{**row, "id": row.get("idx")} for row in read_json_lines(tree.file(file.name))]


LAYOUT = TaskLayout("xcopa", ("xcopa",), "data/sw/val.sw.jsonl, data/sw/test.sw.jsonl", _find, _read)
