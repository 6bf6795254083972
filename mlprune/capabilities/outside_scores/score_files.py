"""Files with a score for each output: CSV, TSV, JSON lines or Parquet."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlprune.errors import BadInputError
from mlprune.evaluation.tasks.items import Row
from mlprune.evaluation.tasks.tables import read_table
from mlprune.given_files import require_regular
from mlprune.vocabulary import READABLE_SUFFIXES

ITEM, SCORE = ("item", "example_id"), "score"
EVALUATION, VARIANT = "evaluation_id", "variant"
PLACES = ("task", "language", "split")
"""Columns that say which evaluation of a variant a row is about; a file may lack them if there is only one."""


@dataclass(frozen=True)
class ScoreRange:
    """What the scores of a program can be."""

    worst: float
    best: float

    @classmethod
    def parse(cls, text: str) -> "ScoreRange":
        """Read `WORST:BEST`, such as `25:0` for MetricX.

        Raises:
            BadInputError: it is not two different finite numbers.
        """
        parts = text.split(":")
        try:
            worst, best = map(float, parts)
        except ValueError:
            worst = best = math.nan
        if not math.isfinite(best - worst) or worst == best:
            expected = "WORST:BEST, two different numbers such as 0:1 for COMET or 25:0 for MetricX"
            raise BadInputError("not a range of scores", expected=expected, got=text)
        return cls(worst, best)

    def share(self, score: float) -> float:
        """Return a score as a share of the range: 0 is the worst, 1 the best."""
        return (score - self.worst) / (self.best - self.worst)

    def contains(self, score: float) -> bool:
        """Whether a score is a number of the range."""
        return min(self.worst, self.best) <= score <= max(self.worst, self.best)


@dataclass(frozen=True)
class Place:
    """Which evaluation a row is about; what a file does not say is empty."""

    evaluation_id: str = ""
    variant: str = ""
    """Label, name or id."""
    task: str = ""
    language: str = ""
    split: str = ""

    @property
    def given(self) -> dict[str, str]:
        """What the file says, by the names of its columns."""
        return {name: value for name, value in vars(self).items() if value}


def read_scores(path: Path, scores: ScoreRange) -> dict[Place, dict[str, float]]:
    """Read a file of scores: place -> item -> score as a share of the range.

    Raises:
        BadInputError: the file cannot be read, lacks a column, scores an item twice, or a score is no number of the
            range.
    """
    _require_readable(path)
    table = read_table(path)
    if not table.rows:
        raise BadInputError("a file of scores has no rows", path=str(path), expected=_columns_text(), got=0)
    item_column = _item_column(path, table.rows[0])
    read: dict[Place, dict[str, float]] = {}
    for index, row in enumerate(table.rows):
        line = table.lines[index] if table.lines else index + 1
        place, item = _place(row), _text(row, item_column)
        if not (place.evaluation_id or place.variant) or not item:
            raise BadInputError(
                "a row has no item or no evaluation", path=str(path), line=line, expected=_columns_text()
            )
        of_place = read.setdefault(place, {})
        if item in of_place:
            got = {"item": item, **place.given}
            raise BadInputError("an item has two scores", path=str(path), line=line, expected="one", got=got)
        of_place[item] = scores.share(_score(row.get(SCORE), scores, path=path, line=line))
    return read


def _require_readable(path: Path) -> None:
    if not path.name.endswith(READABLE_SUFFIXES):
        expected = f"one of {', '.join(READABLE_SUFFIXES)}"
        raise BadInputError("not a kind of file with scores", path=str(path), expected=expected)
    try:
        require_regular(path)
    except OSError as err:
        raise BadInputError("a file of scores cannot be read", path=str(path), reason=err.strerror or str(err)) from err


def _columns_text() -> str:
    return f"columns {EVALUATION} (or {VARIANT}, with {', '.join(PLACES)} where needed), {ITEM[0]}, {SCORE}"


def _item_column(path: Path, row: Row) -> str:
    found = next((name for name in ITEM if name in row), None)
    if found is None or SCORE not in row or not {EVALUATION, VARIANT} & set(row):
        raise BadInputError("a file of scores lacks columns", path=str(path), expected=_columns_text(), got=list(row))
    return found


def _place(row: Row) -> Place:
    return Place(**{name: _text(row, name) for name in (EVALUATION, VARIANT, *PLACES)})


def _text(row: Row, column: str) -> str:
    value = row.get(column)
    return "" if value is None else str(value).strip()


def _score(value: object, scores: ScoreRange, *, path: Path, line: int) -> float:
    try:
        number = math.nan if isinstance(value, bool | Mapping) else float(str(value))
    except ValueError:
        number = math.nan
    if not scores.contains(number):
        expected = f"a number from {scores.worst:g} (worst) to {scores.best:g} (best)"
        raise BadInputError("a score is not in its range", path=str(path), line=line, expected=expected, got=value)
    return number
