"""XStoryCloze: `spring2016.val.sw.tsv.split_20_80_train.tsv` (dev) and `..._eval.tsv` (test), one row per story."""

from collections.abc import Iterator, Sequence

from mlprune.evaluation.tasks.builtin.xstory_cloze import ENDING_KEYS, STORY_KEYS
from mlprune.evaluation.tasks.items import Row
from mlprune.evaluation.tasks.layouts.layout import (
    LANGUAGE,
    FileTree,
    TaskFile,
    TaskLayout,
    cells,
    files_named,
    tab_separated,
)

NAME = rf"spring2016\.val\.{LANGUAGE}\.tsv\.split_20_80_(?P<split>train|eval)\.tsv"
SPLITS = {"train": "dev", "eval": "test"}
KEYS = ("id", *STORY_KEYS, *ENDING_KEYS, "answer_right_ending")
"""Keys of the columns, whose names differ between editions of the files."""


def _find(tree: FileTree) -> Iterator[TaskFile]:
    return files_named(tree, NAME, splits=SPLITS)


def _read(tree: FileTree, file: TaskFile) -> Sequence[Row]:
    table = tab_separated(tree.file(file.name))[1:]
    return [
        dict(zip(KEYS, cells(values, len(KEYS), line=line), strict=True)) for line, values in enumerate(table, start=2)
    ]


LAYOUT = TaskLayout(
    "xstory_cloze",
    ("xstory_cloze",),
    "spring2016.val.sw.tsv.split_20_80_train.tsv (dev), ..._eval.tsv (test)",
    _find,
    _read,
)
