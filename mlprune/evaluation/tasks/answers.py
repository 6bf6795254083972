"""Candidates and right answers of rows, as files state them: lists, numbers, letters and texts."""

import re
from ast import literal_eval
from collections.abc import Callable, Mapping, Sequence

from mlprune.descriptions import AnswerKind
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import Row, texts_of
from mlprune.json_values import parse_json

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Letters of the candidates of a question."""
_LETTERED_LINE = re.compile(r"^[ \t]*([A-Z])[.)][ \t]*", re.MULTILINE)
MOST_DIGITS = 4
"""Longest number of a candidate."""


def answer_index(row: Row, key: str, candidates: Sequence[str], *, kind: AnswerKind | None = None) -> int:
    """Return the index of the right candidate, which the row gives by its number, letter or text.

    Args:
        kind: None finds it out: a number is an index from 0; a text is one of the candidates, digits or a letter.
    Raises:
        TaskFileError: the value is none of these, or one candidate as a text and another one as a number or letter.
    """
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TaskFileError(f"wrong {key}", key=key, expected=_expected(candidates, kind), got=value)
    kinds: tuple[AnswerKind, ...] = ("number",) if isinstance(value, int) else ("text", "number", "letter")
    places = {READINGS[each](str(value), candidates) for each in ((kind,) if kind else kinds)}
    named = [place for place in places if 0 <= place < len(candidates)]
    if len(named) == 1:
        return named[0]
    if named:
        expected = "the key answer_as of the task: number, letter or text"
        raise TaskFileError(f"the {key} can mean two candidates", key=key, expected=expected, got=value)
    raise TaskFileError(f"wrong {key}", key=key, expected=_expected(candidates, kind), got=value)


def _number(text: str, candidates: Sequence[str]) -> int:
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= MOST_DIGITS else -1


def _number_from_1(text: str, candidates: Sequence[str]) -> int:
    return _number(text, candidates) - 1


def _letter(text: str, candidates: Sequence[str]) -> int:
    letter = text.strip().upper()
    return LETTERS.find(letter) if len(letter) == 1 else -1


def _text(text: str, candidates: Sequence[str]) -> int:
    return list(candidates).index(text) if text in candidates else -1


READINGS: Mapping[AnswerKind, Callable[[str, Sequence[str]], int]] = {
    "number": _number,
    "number_from_1": _number_from_1,
    "letter": _letter,
    "text": _text,
}
"""How a row names its right candidate -> function that returns its index, or another number for none."""


def _expected(candidates: Sequence[str], kind: AnswerKind | None) -> object:
    n = len(candidates)
    expected: Mapping[AnswerKind, object] = {
        "number": f"a whole number from 0 to {n - 1}",
        "number_from_1": f"a whole number from 1 to {n}",
        "letter": f"a letter from A to {LETTERS[n - 1 : n]}",
        "text": list(candidates),
    }
    return expected[kind] if kind else list(expected.values())[:1] + list(candidates)


def listed_texts(row: Row, key: str) -> list[str]:
    """Return a list of texts of a row, which a table has as one text: a list of JSON or of Python. Numbers are texts.

    Raises:
        BlankTextError, TaskFileError: as in `texts_of`.
    """
    return texts_of({key: as_list(row[key])}, key)


def as_list(value: object) -> object:
    """Return the list that a value is or describes, with texts in place of numbers; another value as it is.

    A text describes one in the notation of JSON or Python, or by lines that begin with `A.`, `B.` and so on.
    """
    if isinstance(value, str):
        value = _parsed(value.strip()) if value.lstrip().startswith("[") else _lettered(value)
    if isinstance(value, list):
        return [str(each) if isinstance(each, int | float) else each for each in value]
    return value


def _parsed(text: str) -> object:
    """Return the value of a text in the notation of JSON or Python; another text as it is."""
    parse: Callable[[str], object]
    for parse in (parse_json, literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return _with_bare_quotes(text)


def _lettered(text: str) -> object:
    """Return the options of a text whose lines begin with the letters A, B, ... in turn; another text as it is.

    A line without a letter continues the option above it.
    """
    before, *pieces = _LETTERED_LINE.split(text)
    letters, options = pieces[::2], [option.strip() for option in pieces[1::2]]
    is_list = not before.strip() and len(letters) > 1 and "".join(letters) == LETTERS[: len(letters)]
    return options if is_list else text


def _with_bare_quotes(text: str) -> object:
    """Return the list of texts that a writer put between single quotes without escaping those inside; another text as
    it is.

    `['Ender's Game', 'b']` is divided at `', '`.
    """
    is_list = len(text) > len("['']") and text.startswith("['") and text.endswith("']")
    return text[2:-2].split("', '") if is_list else text
