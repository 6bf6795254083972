"""PAWS-X: `x-final/fr/dev_2k.tsv` with a header, and XTREME's `dev-fr.tsv` without one.

Some rows were published without a sentence, with `NS` instead of one, or without a label; they are skipped.
"""

from collections.abc import Iterator, Sequence

from mlprune.evaluation.tasks.items import Row
from mlprune.evaluation.tasks.layouts.layout import (
    LANGUAGE,
    FileTree,
    TaskFile,
    TaskLayout,
    cells,
    files_named,
    first_cells,
    marked_skipped,
    tab_separated,
)

HEADER = ["id", "sentence1", "sentence2", "label"]
PUBLISHED = rf"{LANGUAGE}/(?P<split>dev_2k|test_2k|translated_train|train)\.tsv"
PUBLISHED_SPLITS = {"dev_2k": "dev", "test_2k": "test", "translated_train": "train", "train": "train"}
XTREME = rf"(?P<split>train|dev|test)-{LANGUAGE}\.tsv"
XTREME_SPLITS = {"train": "train", "dev": "dev", "test": "test"}
LABELS = ("0", "1")
MISSING = ("", "NS")


def _find(tree: FileTree) -> Iterator[TaskFile]:
    for file in files_named(tree, PUBLISHED, splits=PUBLISHED_SPLITS):
        if _has_header(first_cells(tree.file(file.name))):
            yield file
    for file in files_named(tree, XTREME, splits=XTREME_SPLITS):
        row = (first_cells(tree.file(file.name)) or [[]])[0]
        if len(row) == 3 and row[2].strip('"') in LABELS:
            yield file


def _has_header(table: Sequence[Sequence[str]]) -> bool:
    return bool(table) and list(table[0][: len(HEADER)]) == HEADER


def _read(tree: FileTree, file: TaskFile) -> Sequence[Row]:
    table = tab_separated(tree.file(file.name))
    if _has_header(table):
        rows = (_row(cells(values, len(HEADER), line=line)) for line, values in enumerate(table[1:], start=2))
    else:
        rows = (_row([str(line - 1), *cells(values, 3, line=line)]) for line, values in enumerate(table, start=1))
    return marked_skipped(rows, what="no sentence or label")


def _row(values: Sequence[str]) -> Row | None:
    number, first, second, label = values
    if label not in LABELS or first.strip() in MISSING or second.strip() in MISSING:
        return None
    return {
        "id": int(number) if number.isdigit() else number,
        "sentence1": first,
        "sentence2": second,
        "label": int(label),
    }


LAYOUT = TaskLayout("paws_x", ("paws_x",), "x-final/fr/dev_2k.tsv, test_2k.tsv; dev-fr.tsv (XTREME)", _find, _read)
