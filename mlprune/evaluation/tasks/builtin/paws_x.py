"""PAWS-X: paraphrase identification (Yang et al. 2019, arXiv:1908.11828)."""

from mlprune.descriptions import HubSet
from mlprune.evaluation.tasks.items import ChoiceItem, Row, choice_item, number_of, text_of
from mlprune.evaluation.tasks.task import LABEL_METRICS, Task

PAWS_X_LABELS = ("No", "Yes")


def paws_x_item(example_id: str, row: Row) -> ChoiceItem:
    """`{sentence1} right? {No|Yes}, {sentence2}`; label 1 is a paraphrase, hence Yes."""
    first, second = text_of(row, "sentence1"), text_of(row, "sentence2")
    parts = [f"{word}, {second}" for word in PAWS_X_LABELS]
    gold = number_of(row, "label", range(2))
    return choice_item(example_id, ("0", "1"), context=f"{first} right? ", parts=parts, gold=gold)


TASK = Task(
    "paws_x",
    LABEL_METRICS,
    ("sentence1", "sentence2", "label"),
    paws_x_item,
    prompt_language="en",
    texts=("sentence1", "sentence2"),
    citation="Yang et al. 2019, arXiv:1908.11828",
    dataset=HubSet(
        name="google-research-datasets/paws-x", files=("{config}/{split}-*.parquet",), id=("id",), skips_incomplete=True
    ),
)
