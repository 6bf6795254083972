"""XStoryCloze: choice of the right ending of a story (Lin et al. 2021, arXiv:2112.10668)."""

from mlprune.descriptions import CONVERTED, HubSet
from mlprune.evaluation.tasks.items import ChoiceItem, Row, choice_item, one_based_index, text_of
from mlprune.evaluation.tasks.task import CHOICE_METRICS, Task

STORY_KEYS = tuple(f"input_sentence_{number}" for number in range(1, 5))
ENDING_KEYS = ("sentence_quiz1", "sentence_quiz2")


def xstory_cloze_item(example_id: str, row: Row) -> ChoiceItem:
    """The four sentences of a story and one of two endings, joined by spaces (Lin et al., arXiv:2112.10668)."""
    story = " ".join(text_of(row, key).strip() for key in STORY_KEYS)
    endings = [text_of(row, key).strip() for key in ENDING_KEYS]
    gold = one_based_index(row, "answer_right_ending", len(endings))
    return choice_item(example_id, endings, context=f"{story} ", parts=endings, gold=gold)


TASK = Task(
    "xstory_cloze",
    CHOICE_METRICS,
    (*STORY_KEYS, *ENDING_KEYS, "answer_right_ending"),
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
)
