"""Facts: choice of the word that completes a statement."""

from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import ChoiceItem, Row, choice_item, index_of, text_of, texts_of
from mlprune.evaluation.tasks.task import CHOICE_METRICS, Task

MASK = "<mask>"
"""Marks where a candidate goes."""


def facts() -> Task:
    """The word that completes a statement."""
    return Task(
        "facts",
        CHOICE_METRICS,
        ("prompt", "candidates", "answer"),
        facts_item,
        ties="shared",
    )


def facts_item(example_id: str, row: Row) -> ChoiceItem:
    """The prompt with `<mask>` replaced by each candidate; `answer` is an index or a text."""
    prompt = text_of(row, "prompt")
    if prompt.count(MASK) != 1:
        message = "a prompt has several gaps" if MASK in prompt else "a prompt has no gap"
        raise TaskFileError(message, key="prompt", expected=f"{MASK} once", got=prompt)
    candidates = texts_of(row, "candidates")
    gold = index_of(row, "answer", candidates)
    if len(set(candidates)) < 2:
        message = "a row has nothing to choose from"
        raise TaskFileError(message, key="candidates", expected="two or more different texts", got=list(candidates))
    before, _, after = prompt.partition(MASK)
    parts = [candidate + after for candidate in candidates]
    return choice_item(example_id, candidates, context=before, parts=parts, gold=gold)
