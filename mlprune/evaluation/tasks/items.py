"""What a choice is made of: whole texts, one for each candidate, of which one is right.

How a row of a task becomes one is in `tasks.py` and `own_tasks.py`, how it is scored in `classify.py` and `rules.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from mlprune.errors import TaskFileError

Row = Mapping[str, object]
"""A row of a task file: key -> value as the file has it."""


@dataclass(frozen=True)
class ChoiceItem:
    """Whole texts of which one is right."""

    example_id: str
    candidates: tuple[str, ...]
    """The labels as the file writes them, or the texts that fill a gap."""
    texts: tuple[str, ...]
    """What is scored, one text a candidate."""
    gold: int
    """Index of the right candidate."""
    starts: tuple[int, ...] = ()
    """Character at which the candidate part of each text begins: the candidate and what follows it. Empty: at 0."""


@dataclass(frozen=True)
class TranslationItem:
    """A sentence and its reference translation."""

    example_id: str
    source: str
    reference: str


def choice(
    example_id: str, candidates: Sequence[str], *, context: str, parts: Sequence[str], gold: int, after: str = ""
) -> ChoiceItem:
    """An item whose texts begin with one context.

    Args:
        candidates: the labels, or the texts that fill a gap.
        context: what stands before every candidate.
        parts: what follows the context, one a candidate.
        after: what ends every text; like `parts` it belongs to the candidate part.
    """
    texts = tuple(f"{context}{part}{after}" for part in parts)
    return ChoiceItem(example_id, tuple(candidates), texts, gold, (len(context),) * len(texts))


def sentence_item(example_id: str, sentence: str) -> ChoiceItem:
    """A sentence as an item of one text, for perplexity."""
    return ChoiceItem(example_id, (sentence,), (sentence,), 0)


def text_of(row: Row, key: str) -> str:
    """A text of a row, as it stands.

    Raises:
        TaskFileError: it is no text, or nothing but white space.
    """
    value = row[key]
    if not is_text(value):
        raise TaskFileError("an empty or missing text", key=key, expected="a text", got=value)
    return str(value)


def number_of(row: Row, key: str, allowed: range) -> int:
    """A whole number of a row.

    Raises:
        TaskFileError: it is not one of the allowed ones.
    """
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise TaskFileError(f"wrong {key}", key=key, expected=f"{allowed.start} to {allowed.stop - 1}", got=value)
    return value


def one_based_index(row: Row, key: str, n: int) -> int:
    """The index of the right one of n, which the row counts from 1, as a number or as a text of digits.

    Raises:
        TaskFileError: it is not one of them.
    """
    value = row[key]
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    return number_of({key: value}, key, range(1, n + 1)) - 1


def texts_of(row: Row, key: str) -> list[str]:
    """A list of texts of a row.

    Raises:
        TaskFileError: it is no list, is empty, or holds something that is no text.
    """
    value = row[key]
    if not isinstance(value, list) or not value or not all(is_text(each) for each in value):
        raise TaskFileError(f"wrong {key}", key=key, expected="a list of texts", got=value)
    return cast("list[str]", value)


def place_of(row: Row, key: str, candidates: Sequence[str]) -> int:
    """The right one of some candidates, given by its index or as it is written.

    Raises:
        TaskFileError: it is neither.
    """
    value = row[key]
    if not isinstance(value, str):
        return number_of(row, key, range(len(candidates)))
    if value not in candidates:
        raise TaskFileError(f"the {key} is no candidate", key=key, expected=list(candidates), got=value)
    return list(candidates).index(value)


def is_text(value: object) -> bool:
    """Whether a value is a text with something in it."""
    return isinstance(value, str) and bool(value.strip())
