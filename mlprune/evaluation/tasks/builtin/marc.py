"""MARC: sentiment of product reviews, with two or five labels (Keung et al. 2020, arXiv:2010.02573).

Files: the original JSON lines `dataset_fr_dev.json`, and copies of a hub, `amazon_reviews_multi_fr/validation.jsonl`.
The text is the body of the review; in a copy it is the field `text`, and its labels 0 to 4 are one to five stars.
"""

from collections.abc import Iterator, Sequence

from mlprune.corpus.text_files import read_json_lines
from mlprune.descriptions import HubSet
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import ChoiceItem, ItemGroup, Row, choice_item, number_of, stated_name, text_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.task import LABEL_METRICS, Task
from mlprune.json_values import JsonObject

MARC_WORDS = 128
"""Whitespace-separated words of a review that are kept."""
MARC_STARS = ("terrible", "bad", "okay", "good", "great")
"""Verbal label of one to five stars."""
STARS_OF_LABEL = tuple((label, label + 1) for label in range(5))
"""Label of the copies on a hub -> number of stars."""
COPIES = (
    HubSet(name="SetFit/amazon_reviews_multi_{config}", files=("{split}.jsonl",), id=("id",), labels=STARS_OF_LABEL),
    HubSet(name="mteb/amazon_reviews_multi", files=("{config}/{split}.jsonl",), id=("id",), labels=STARS_OF_LABEL),
    HubSet(
        name="mteb/AmazonReviewsClassification",
        files=("{config}/{split}-*.parquet",),
        aligned=False,
        labels=STARS_OF_LABEL,
    ),
)
"""Copies on a hub; the publisher withdrew the original. The reviews of the languages are different ones."""
CITATION = "Keung et al. 2020, arXiv:2010.02573"
ORIGINAL = rf"dataset_{layout.LANGUAGE}_(?P<split>train|dev|test)\.jsonl?"
ORIGINAL_SPLITS = {"train": "train", "dev": "dev", "test": "test"}
ORIGINAL_KEYS = {"review_id", "review_body", "stars"}
COPY = rf"(?:[^/]*_)?{layout.LANGUAGE}/(?P<split>train|validation|test)\.jsonl"
COPY_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
COPY_KEYS = {"id", "text", "label", "label_text"}
STAR_TEXTS = ("1", "2", "3", "4", "5")
"""Stars of the original, where they are texts."""
STARS_OF_LABEL_TEXT = {str(label): label + 1 for label in range(5)}


def marc_five() -> Task:
    """Stars of reviews."""
    return Task(
        "marc_five",
        LABEL_METRICS,
        ("text", "label"),
        marc_five_item,
        prompt_language="en",
        texts=("text",),
        most_words=MARC_WORDS,
        groups=marc_groups,
        citation=CITATION,
    )


def marc() -> Task:
    """Negative or positive reviews."""
    return Task(
        "marc",
        LABEL_METRICS,
        ("text", "label"),
        marc_item,
        prompt_language="en",
        texts=("text",),
        most_words=MARC_WORDS,
        groups=marc_groups,
        citation=CITATION,
        copies=COPIES,
        layouts=(
            layout.TaskLayout(
                "marc",
                ("marc", "marc_five"),
                "dataset_fr_dev.json with stars, or amazon_reviews_multi_fr/validation.jsonl with labels 0 to 4",
                _find,
                _read,
            ),
        ),
    )


def marc_item(example_id: str, row: Row) -> ChoiceItem | None:
    """The first words of the review and ` It is {negative|positive}`; reviews with three stars are dropped."""
    review, stars = _review(row)
    if stars == 3:
        return None
    words = ("negative", "positive")
    return choice_item(example_id, words, context=f"{review} It is ", parts=words, gold=int(stars > 3))


def marc_five_item(example_id: str, row: Row) -> ChoiceItem:
    """The first words of the review and ` It is {terrible|bad|okay|good|great}`, one word for each number of stars."""
    review, stars = _review(row)
    labels = ("1", "2", "3", "4", "5")
    return choice_item(example_id, labels, context=f"{review} It is ", parts=MARC_STARS, gold=stars - 1)


def marc_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """The reviews of one product are a cluster, named by its `product_id`; the category is `product_category`."""
    return [ItemGroup(stated_name(row, "product_id"), stated_name(row, "product_category")) for row in rows]


def _review(row: Row) -> tuple[str, int]:
    """Return the first words of a review, and its number of stars."""
    return " ".join(text_of(row, "text").split()[:MARC_WORDS]), number_of(row, "label", range(1, 6))


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    for pattern, splits, keys in ((ORIGINAL, ORIGINAL_SPLITS, ORIGINAL_KEYS), (COPY, COPY_SPLITS, COPY_KEYS)):
        for file in layout.files_named(tree, pattern, splits=splits):
            if set(layout.first_object(tree.file(file.name))) >= keys:
                yield file


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    rows = read_json_lines(tree.file(file.name))
    return [_row(row, line=line) for line, row in enumerate(rows, start=1)]


def _row(row: JsonObject, *, line: int) -> Row:
    if set(row) >= ORIGINAL_KEYS:
        stars = row["stars"]
        label = int(stars) if isinstance(stars, str) and stars in STAR_TEXTS else stars
        stated = {key: row[key] for key in ("product_id", "product_category") if key in row}
        return {"id": row["review_id"], "text": row["review_body"], "label": label, **stated}
    if not set(row) >= COPY_KEYS or str(row["label"]) not in STARS_OF_LABEL_TEXT:
        raise TaskFileError("wrong label", line=line, expected="a whole number from 0 to 4", got=row.get("label"))
    return {"id": row["id"], "text": row["text"], "label": STARS_OF_LABEL_TEXT[str(row["label"])]}
