"""XStoryCloze: choice of the right ending of a story (Lin et al. 2021, arXiv:2112.10668).

Files: `spring2016.val.sw.tsv.split_20_80_train.tsv` (dev) and `..._eval.tsv` (test), one row per story.
"""

from collections.abc import Iterator, Sequence

from mlprune.descriptions import CONVERTED, HubSet
from mlprune.evaluation.tasks.items import ChoiceItem, Row, choice_item, one_based_index, text_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.task import CHOICE_METRICS, Task

STORY_KEYS = tuple(f"input_sentence_{number}" for number in range(1, 5))
ENDING_KEYS = ("sentence_quiz1", "sentence_quiz2")
KEYS = (*STORY_KEYS, *ENDING_KEYS, "answer_right_ending")
NAME = rf"spring2016\.val\.{layout.LANGUAGE}\.tsv\.split_20_80_(?P<split>train|eval)\.tsv"
SPLITS = {"train": "dev", "eval": "test"}
COLUMN_KEYS = ("id", *KEYS)
"""Keys of the columns, whose names differ between editions of the files."""


def xstory_cloze() -> Task:
    """Endings of stories."""
    return Task(
        "xstory_cloze",
        CHOICE_METRICS,
        KEYS,
        xstory_cloze_item,
        texts=(*STORY_KEYS, *ENDING_KEYS),
        citation="Lin et al. 2021, arXiv:2112.10668",
        dataset=HubSet(
            name="juletxara/xstory_cloze",
            files=("{config}/{split}/*.parquet", "{config}/*-{split}.parquet"),
            revision=CONVERTED,
            splits=(("dev", "train"), ("test", "eval")),
            id=("story_id",),
        ),
        layouts=(
            layout.TaskLayout(
                "xstory_cloze",
                ("xstory_cloze",),
                "spring2016.val.sw.tsv.split_20_80_train.tsv (dev), ..._eval.tsv (test)",
                _find,
                _read,
            ),
        ),
    )


def xstory_cloze_item(example_id: str, row: Row) -> ChoiceItem:
    """The four sentences of a story and one of two endings, joined by spaces (Lin et al., arXiv:2112.10668)."""
    story = " ".join(text_of(row, key).strip() for key in STORY_KEYS)
    endings = [text_of(row, key).strip() for key in ENDING_KEYS]
    gold = one_based_index(row, "answer_right_ending", len(endings))
    return choice_item(example_id, endings, context=f"{story} ", parts=endings, gold=gold)


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    return layout.files_named(tree, NAME, splits=SPLITS)


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    table = layout.tab_separated(tree.file(file.name))[1:]
    return [
        dict(zip(COLUMN_KEYS, layout.cells(values, len(COLUMN_KEYS), line=line), strict=True))
        for line, values in enumerate(table, start=2)
    ]
