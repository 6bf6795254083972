"""Columns of a result as they are shown: formatted, and each value joined with its interval.

One rule joins intervals, for every query: a pair of columns `P_ci_low` and `P_ci_high`, where P may be missing, belongs
to the column named P, otherwise to the next column on the left that has measured numbers and whose name starts with P.
The joined column keeps the name of that column: `0.280 (0.207 to 0.353)`. A second interval of the same value, and one
without a value, is a column of its own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.results import QueryResult, Value
from catalog.terminal.column_kinds import Kind, kind_of
from catalog.terminal.value_text import aligned, decimals_of, number_text, other_text, p_value_text, ratio_text
from mlprune.vocabulary import LOG_RATIO

_LOW = re.compile(r"(?:(?P<stem>.+)_)?(?P<interval>ci\d*)_low")
_END = re.compile(r"(?:^|_)ci\d*_(?:low|high)$")
MEASURED = (Kind.NUMBER, Kind.DIFFERENCE)


@dataclass(frozen=True)
class ShownColumn:
    """A column as it is shown."""

    name: str
    kind: Kind
    cells: tuple[str, ...]
    """One text per row; numbers are padded to the same width."""
    values: tuple[Value, ...]
    """What was formatted, to compare rows: per row a value, or a value with the ends of its interval."""
    interval_width: int = 0
    """Characters of `(low to high)` in the cells of a value with an interval, else 0."""

    def narrow(self, row: int) -> str:
        """Return the text of a row with the interval below the value."""
        text = self.cells[row]
        if not self.interval_width:
            return text
        return f"{text[: -self.interval_width].rstrip()}\n{text[-self.interval_width :]}".removesuffix("\n")

    def compact(self, row: int) -> str:
        """Return the text of a row without the padding."""
        text = self.cells[row]
        return re.sub(" +", " ", text.strip()).replace("( ", "(") if self.kind.is_number else text

    @property
    def is_constant(self) -> bool:
        """Whether all rows have the same value."""
        return all(value == self.values[0] for value in self.values)

    @property
    def is_empty(self) -> bool:
        """Whether no row has a text."""
        return not any(self.cells)


@dataclass(frozen=True)
class Interval:
    """Names of the columns of an interval."""

    name: str
    """Name of the column if the interval is shown alone."""
    low: str
    high: str


def shown_columns(result: QueryResult, *, digits: int | None, id_length: int | None) -> list[ShownColumn]:
    """Format the columns of a result that has rows.

    Args:
        digits: decimals of numbers; None for the default.
        id_length: digits of an id that are written; None for all.
    """
    values = dict(zip(result.columns, zip(*result.rows, strict=True), strict=True))
    kinds = {name: kind_of(name, column) for name, column in values.items()}
    owners = interval_owners(result.columns, kinds)
    alone = {interval.low: interval for owner, interval in owners if owner is None}
    joined = {owner: interval for owner, interval in owners if owner is not None}
    ends = {end for _, interval in owners for end in (interval.low, interval.high)}
    is_ratio = tuple(scale == LOG_RATIO for scale in values.get("scale", ()))
    columns = []
    for name in result.columns:
        ratios = is_ratio if name == "difference" else ()
        if name in alone:
            columns.append(_with_interval(_Numbers(Kind.NUMBER, digits), values, name=None, interval=alone[name]))
        elif name in joined:
            numbers = _Numbers(kinds[name] if kinds[name] in MEASURED else Kind.NUMBER, digits, ratios)
            columns.append(_with_interval(numbers, values, name=name, interval=joined[name]))
        elif name not in ends:
            numbers = _Numbers(kinds[name], digits, ratios)
            cells = _cells(name, values[name], numbers=numbers, id_length=id_length)
            columns.append(ShownColumn(name, kinds[name], tuple(cells), values[name]))
    return columns


def interval_owners(names: Sequence[str], kinds: Mapping[str, Kind]) -> list[tuple[str | None, Interval]]:
    """Return each interval with the column it belongs to, None if there is none; see the rule of this module."""
    found: list[tuple[str | None, Interval]] = []
    for place, low in enumerate(names):
        match = _LOW.fullmatch(low)
        high = low.removesuffix("low") + "high"
        if match is None or high not in names or not (kinds[low].is_number and kinds[high].is_number):
            continue
        stem = match["stem"] or ""
        left = (
            name
            for name in reversed(names[:place])
            if kinds[name] in MEASURED and name.startswith(stem) and not _END.search(name)
        )
        owner = stem if stem in names and kinds[stem].is_number else next(left, None)
        is_taken = any(owner == other for other, _ in found)
        found.append((None if is_taken else owner, Interval(low.removesuffix("_low"), low, high)))
    return found


@dataclass(frozen=True)
class _Numbers:
    """How the numbers of a column and the ends of their intervals are written."""

    kind: Kind
    digits: int | None
    is_ratio: tuple[bool, ...] = ()
    """Per row, whether the number is the logarithm of a ratio; empty if none is."""

    def texts(self, numbers: Sequence[Value], *, decimals: int | None) -> list[str]:
        """Write the numbers of all rows, aligned."""
        return aligned(
            [
                ratio_text(number, decimals=decimals)
                if is_ratio
                else number_text(number, kind=self.kind, decimals=decimals)
                for number, is_ratio in zip(numbers, self.is_ratio or (False,) * len(numbers), strict=True)
            ]
        )


def _with_interval(
    numbers: _Numbers, values: Mapping[str, tuple[Value, ...]], *, name: str | None, interval: Interval
) -> ShownColumn:
    """Format a column together with its interval; without a name, the interval alone."""
    own = [] if name is None else [values[name]]
    lows, highs = values[interval.low], values[interval.high]
    everything = [number for column in (*own, lows, highs) for number in column]
    decimals = decimals_of(name or interval.name, everything, kind=numbers.kind, digits=numbers.digits)
    ends = zip(numbers.texts(lows, decimals=decimals), numbers.texts(highs, decimals=decimals), strict=True)
    brackets = [f"({low} to {high})" if (low + high).strip() else "" for low, high in ends]
    width = max(map(len, brackets))
    parts = [*(numbers.texts(column, decimals=decimals) for column in own), [f"{text:{width}}" for text in brackets]]
    cells = tuple(" ".join(texts) for texts in zip(*parts, strict=True))
    rows = tuple(zip(*own, lows, highs, strict=True))
    return ShownColumn(name or interval.name, numbers.kind, cells, rows, interval_width=width if own else 0)


def _cells(name: str, column: Sequence[Value], *, numbers: _Numbers, id_length: int | None) -> Sequence[str]:
    """Format a column without an interval."""
    kind, digits = numbers.kind, numbers.digits
    if kind is Kind.P_VALUE:
        return aligned([p_value_text(value, digits=digits) for value in column])
    if kind.is_number:
        return numbers.texts(column, decimals=decimals_of(name, column, kind=kind, digits=digits))
    return ["" if value is None else other_text(value, kind=kind, id_length=id_length) for value in column]
