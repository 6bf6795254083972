"""XWinograd: choice of what a pronoun refers to (Tikhonov and Ryabinin 2021, arXiv:2106.12066)."""

from collections.abc import Sequence

from mlprune.descriptions import CONVERTED, HubSet
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import ChoiceItem, ItemGroup, Row, choice_item, one_based_index, runs, text_of
from mlprune.evaluation.tasks.task import CHOICE_METRICS, Task

GAP = "_"
"""Marks where an option goes."""


def xwinograd_item(example_id: str, row: Row) -> ChoiceItem:
    """The sentence with `_` replaced by each option (Tikhonov and Ryabinin, arXiv:2106.12066)."""
    before, gap, after = text_of(row, "sentence").partition(GAP)
    if not gap:
        raise TaskFileError("a sentence has no gap", key="sentence", expected=GAP, got=row["sentence"])
    options = [text_of(row, key) for key in ("option1", "option2")]
    gold = one_based_index(row, "answer", len(options))
    return choice_item(example_id, options, context=before, parts=options, gold=gold, after=after)


def xwinograd_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """Adjacent rows with the same two options are a cluster: a schema is a pair of sentences with opposite answers."""
    return [ItemGroup(cluster) for cluster in runs(rows, _options)]


def _options(row: Row) -> frozenset[str]:
    return frozenset(str(row[key]).strip().casefold() for key in ("option1", "option2"))


TASK = Task(
    "xwinograd",
    CHOICE_METRICS,
    ("sentence", "option1", "option2", "answer"),
    xwinograd_item,
    groups=xwinograd_groups,
    citation="Tikhonov and Ryabinin 2021, arXiv:2106.12066",
    dataset=HubSet(
        name="Muennighoff/xwinograd",
        files=("{config}/{split}/*.parquet", "{config}/*-{split}.parquet"),
        revision=CONVERTED,
        splits=(("test", "test"),),
        configs=(("ja", "jp"),),
        aligned=False,
    ),
)
