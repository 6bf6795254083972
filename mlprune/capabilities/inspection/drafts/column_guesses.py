"""Guesses of what the columns of a table are: id, candidates, right answer and texts, by their names and values."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlprune.capabilities.inspection.drafts.table_heads import TableHead
from mlprune.descriptions import AnswerKind
from mlprune.evaluation.tasks.answers import LETTERS, as_list
from mlprune.evaluation.tasks.items import Row

ANSWERS = (
    *("answerkey", "correctanswernum", "correctanswer", "correctoption", "correct", "gold", "goldlabel", "label"),
    *("answer", "answers", "target", "targets", "answeridx", "answerindex", "sentiment", "class", "category", "key"),
)
"""Usual names of the right answer in lower case without other characters than letters, the most telling ones first."""
TEXTS = (
    *("question", "query", "prompt", "text", "sentence", "sentence1", "sentence2", "premise", "hypothesis", "context"),
    *("passage", "paragraph", "article", "headline", "title", "stem", "review", "tweet", "content", "input", "story"),
)
"""Usual names of texts of a template."""
LISTS = ("choices", "options", "candidates", "endings", "alternatives", "answers")
"""Usual names of lists of candidates."""
PAIRS = (("good", "bad"), ("correct", "incorrect"), ("grammatical", "ungrammatical"), ("right", "wrong"))
"""Names of the right and the wrong one of two candidates differ in these words."""
NO_CANDIDATES = re.compile(r"sentence|text|premise|hypothes|context|input|label|annotator|token|tag")
"""Numbered columns of these names are not candidates."""
MOST_LABELS, MOST_LABEL_CHARACTERS = 10, 40
MOST_TEXTS = 3
LEAST_TEXT_CHARACTERS = 12
"""Mean length of a column of texts without a usual name."""


@dataclass(frozen=True)
class Guesses:
    """Columns of a table by their meaning; empty for those that are not found."""

    id: str = ""
    texts: tuple[str, ...] = ()
    answer: str = ""
    answer_as: AnswerKind | None = None
    candidates: str | tuple[str, ...] = ()
    """A column with a list, or a column each."""
    labels: tuple[str, ...] = ()
    """Labels of the first rows, without candidates."""

    @property
    def is_question(self) -> bool:
        """Whether the answer has to be generated: there are neither candidates nor labels."""
        return bool(self.answer) and not self.candidates and not self.labels


def guess_columns(head: TableHead) -> Guesses:
    """Guess the columns of a table from its first rows."""
    rows = head.rows
    pair = _pair(head.columns)
    if pair:
        texts = _texts(head, used=pair)
        named = tuple(name for name in texts if _plain(name) in TEXTS)
        return Guesses(_id(head), named, pair[0], "text", pair)
    candidates: str | tuple[str, ...] = _candidate_list(head) or _candidate_columns(head)
    listed = (candidates,) if isinstance(candidates, str) else candidates
    others = [name for name in head.columns if name not in listed]
    answer = _answer(others, rows)
    if not answer and isinstance(candidates, str) and _plain(candidates) in ANSWERS:
        answer = candidates
        candidates = listed = ()
    labels: tuple[str, ...] = ()
    answer_as: AnswerKind | None = None
    if candidates and answer:
        answer_as = _answer_kind(rows, answer, candidates)
    elif answer or (not head.has_header and (answer := _label_column(others, rows))):
        labels = _labels(rows, answer)
        answer_as = "text" if labels and any(isinstance(row.get(answer), int) for row in rows) else None
    example_id = _id(head) if _id(head) != answer else ""
    return Guesses(example_id, _texts(head, used=(*listed, answer, example_id)), answer, answer_as, candidates, labels)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _id(head: TableHead) -> str:
    """Return the first column named like an id whose values are different and not empty."""
    for name in head.columns if head.has_header else ():
        if _plain(name).endswith(("id", "idx")) or _plain(name) in ("index", "no", "number"):
            values = [row.get(name) for row in head.rows]
            are_ids = all(isinstance(value, int | str) and value != "" for value in values)
            if are_ids and len({str(value) for value in values}) == len(values):
                return name
    return ""


def _pair(columns: Sequence[str]) -> tuple[str, str] | tuple[()]:
    plain = {_plain(name): name for name in columns}
    for name, column in plain.items():
        for right, wrong in PAIRS:
            if right in name and (other := plain.get(name.replace(right, wrong))) and other != column:
                return column, other
    return ()


def _candidate_list(head: TableHead) -> str:
    """Return the first column of lists of at least two values that is named like candidates."""
    columns = [name for name in head.columns if _plain(name) in LISTS]
    return next((name for name in columns if all(_is_list(row.get(name)) for row in head.rows)), "")


def _is_list(value: object) -> bool:
    listed = as_list(value)
    return isinstance(listed, list) and len(listed) > 1 and all(isinstance(each, str) for each in listed)


def _candidate_columns(head: TableHead) -> tuple[str, ...]:
    """Return the largest group of columns that differ in a letter from A or a number from 0 or 1 at their end."""
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for name in head.columns if head.has_header else ():
        match = re.fullmatch(r"(.*?)[\W_]?([A-Ja-j]|[0-9])", name)
        if match and not NO_CANDIDATES.search(match[1].lower()):
            groups[match[1].lower()][match[2].upper()] = name
    found = [tuple(group.values()) for stem, group in groups.items() if _is_series(group, stem=stem)]
    texts = [group for group in found if all(isinstance(row.get(name), str) for row in head.rows for name in group)]
    return max(texts, key=len, default=())


def _is_series(ends: Iterable[str], *, stem: str) -> bool:
    series = "".join(ends)
    starts = (LETTERS, "123456789", "0123456789") if stem else (LETTERS,)
    return len(series) > 1 and any(start.startswith(series) for start in starts)


def _answer(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return the column with the most telling name whose values are texts, whole numbers or lists."""
    plain = {_plain(name): name for name in reversed(columns)}
    names = [plain[name] for name in ANSWERS if name in plain]
    names += [name for name in columns if _plain(name).startswith(("correct", "gold")) and name not in names]
    return next((name for name in names if all(isinstance(row.get(name), int | str | list) for row in rows)), "")


def _label_column(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return the column with the fewest different values, at least two, if they look like labels."""
    labels = {name: _labels(rows, name) for name in columns}
    return min((name for name in columns if labels[name]), key=lambda name: len(labels[name]), default="")


def _labels(rows: Sequence[Row], column: str) -> tuple[str, ...]:
    """Return the sorted values of a column if they are few, short and repeated; else nothing."""
    values = [row.get(column) for row in rows]
    names = sorted({str(value) for value in values if isinstance(value, int | str) and value != ""})
    are_short = all(len(name) <= MOST_LABEL_CHARACTERS and name.isprintable() for name in names)
    is_repeated = len(names) < len(rows) or len(rows) <= MOST_LABELS
    return tuple(names) if 0 < len(names) <= MOST_LABELS and are_short and is_repeated else ()


def _answer_kind(rows: Sequence[Row], answer: str, candidates: str | tuple[str, ...]) -> AnswerKind | None:
    """Return how an answer names its candidate; None if that is not clear."""
    if all(isinstance(row.get(answer), str) and row[answer] in _of_row(row, candidates) for row in rows):
        return "text"
    values = {str(row.get(answer)).strip() for row in rows}
    n = max((len(_of_row(row, candidates)) for row in rows), default=0)
    numbers = [int(value) for value in values if value.isascii() and value.isdigit() and len(value) < len(LETTERS)]
    if len(numbers) == len(values):
        return "number_from_1" if 0 not in numbers and n in numbers else "number"
    return "letter" if values <= set(LETTERS[:n]) | set(LETTERS[:n].lower()) else None


def _of_row(row: Row, candidates: str | tuple[str, ...]) -> list[str]:
    if isinstance(candidates, str):
        listed = as_list(row.get(candidates))
        return [str(each) for each in listed] if isinstance(listed, list) else []
    return [str(row.get(name)) for name in candidates]


def _texts(head: TableHead, *, used: Sequence[str]) -> tuple[str, ...]:
    """Return the columns with usual names of texts, else the longest one or, without a header, two."""
    columns = [name for name in head.columns if name not in used and _mean_characters(head.rows, name) > 0]
    named = tuple(name for name in columns if _plain(name) in TEXTS)
    if named:
        return named[:MOST_TEXTS]
    lengths: Mapping[str, float] = {name: _mean_characters(head.rows, name) for name in columns}
    longest = sorted((name for name in columns if lengths[name] >= LEAST_TEXT_CHARACTERS), key=lambda x: -lengths[x])
    chosen = longest[: 1 if head.has_header else 2]
    return tuple(name for name in columns if name in chosen)


def _mean_characters(rows: Sequence[Row], column: str) -> float:
    """Return the mean length of the texts of a column; 0 if a value is not a text."""
    values = [row.get(column) for row in rows]
    if not values or not all(isinstance(value, str) for value in values):
        return 0.0
    return sum(len(str(value)) for value in values) / len(values)
