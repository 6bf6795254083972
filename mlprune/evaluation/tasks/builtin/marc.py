"""MARC: sentiment of product reviews, with two or five labels (Keung et al. 2020, arXiv:2010.02573)."""

from collections.abc import Sequence

from mlprune.descriptions import HubSet
from mlprune.evaluation.tasks.items import ChoiceItem, ItemGroup, Row, choice_item, number_of, stated_name, text_of
from mlprune.evaluation.tasks.task import LABEL_METRICS, Task

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


TASK = Task(
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
)
FIVE_LABELS = Task(
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
