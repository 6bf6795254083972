"""MARC: the original JSON lines `dataset_fr_dev.json`, and copies of a hub, `amazon_reviews_multi_fr/validation.jsonl`.

The text is the body of the review; in a copy it is the field `text`, and its labels 0 to 4 are one to five stars.
"""

from collections.abc import Iterator, Sequence

from mlprune.corpus.text_files import read_json_lines
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import Row
from mlprune.evaluation.tasks.layouts.layout import LANGUAGE, FileTree, TaskFile, TaskLayout, files_named, first_object
from mlprune.json_values import JsonObject

ORIGINAL = rf"dataset_{LANGUAGE}_(?P<split>train|dev|test)\.jsonl?"
ORIGINAL_SPLITS = {"train": "train", "dev": "dev", "test": "test"}
ORIGINAL_KEYS = {"review_id", "review_body", "stars"}
COPY = rf"(?:[^/]*_)?{LANGUAGE}/(?P<split>train|validation|test)\.jsonl"
COPY_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
COPY_KEYS = {"id", "text", "label", "label_text"}
STARS = ("1", "2", "3", "4", "5")
"""Stars of the original, where they are texts."""
STARS_OF_LABEL = {str(label): label + 1 for label in range(5)}


def _find(tree: FileTree) -> Iterator[TaskFile]:
    for pattern, splits, keys in ((ORIGINAL, ORIGINAL_SPLITS, ORIGINAL_KEYS), (COPY, COPY_SPLITS, COPY_KEYS)):
        for file in files_named(tree, pattern, splits=splits):
            if set(first_object(tree.file(file.name))) >= keys:
                yield file


def _read(tree: FileTree, file: TaskFile) -> Sequence[Row]:
    rows = read_json_lines(tree.file(file.name))
    return [_row(row, line=line) for line, row in enumerate(rows, start=1)]


def _row(row: JsonObject, *, line: int) -> Row:
    if set(row) >= ORIGINAL_KEYS:
        stars = row["stars"]
        label = int(stars) if isinstance(stars, str) and stars in STARS else stars
        stated = {key: row[key] for key in ("product_id", "product_category") if key in row}
        return {"id": row["review_id"], "text": row["review_body"], "label": label, **stated}
    if not set(row) >= COPY_KEYS or str(row["label"]) not in STARS_OF_LABEL:
        raise TaskFileError("wrong label", line=line, expected="a whole number from 0 to 4", got=row.get("label"))
    return {"id": row["id"], "text": row["text"], "label": STARS_OF_LABEL[str(row["label"])]}


LAYOUT = TaskLayout(
    "marc",
    ("marc", "marc_five"),
    "dataset_fr_dev.json with stars, or amazon_reviews_multi_fr/validation.jsonl with labels 0 to 4",
    _find,
    _read,
)
