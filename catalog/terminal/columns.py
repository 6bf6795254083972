"""Columns of a result as a terminal shows them: kinds, texts of values, and joined intervals.

A pair of columns `P_ci_low` and `P_ci_high` is the interval of the column P. A pair without such a column, as `ci_low`
and `ci_high`, belongs to the column that it has in the table, view or named query that it comes from: there, the next
measured numbers on the left whose name starts with P. It is joined only if every row has low <= value <= high. The
joined column keeps the name of the value: `0.280 (0.207 to 0.353)`.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from functools import cached_property

from rich.cells import cell_len

from catalog.results import QueryResult, Value, json_value, plain_text, visible
from mlprune.vocabulary import LOG_RATIO

P_WORDS = frozenset({"p", "q"})
DIFFERENCE_WORDS = frozenset({"difference", "change", "gain", "gap", "bias", "optimism", "against", "more", "minus"})
UNSIGNED_WORDS = frozenset({"detectable", "critical", "smallest", "standard", "deviation", "error"})
SETTING_WORDS = frozenset({"sparsity", "share", "alpha", "level", "margin", "weight", "budget"})
DECIMALS_OF_UNITS: Mapping[str, int] = {"s": 1, "gib": 2}
"""Last word of a name -> decimals of values in this unit."""
_ID = re.compile(r"[0-9a-f]{20}")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
DIGITS = 3
"""Default decimals of a number, and default significant digits of a p-value."""
DIGEST_LENGTH = 12
LARGE = 1e9
"""Numbers from here on are written in scientific notation."""
TAB = 4
MOST_EXPONENT = 700.0
NEGLIGIBLE = 1e-9
"""Difference from a decimal fraction that is due to floating-point numbers."""
_LOW = re.compile(r"(?:(?P<stem>.+)_)?(?P<interval>ci\d*)_low")
_END = re.compile(r"(?:^|_)ci\d*_(?:low|high)$")


class Kind(Enum):
    """How the values of a column are written."""

    TEXT = auto()
    YES_NO = auto()
    ID = auto()
    """Id of a record, which has 20 hex digits; its beginning can be given to commands."""
    DIGEST = auto()
    """SHA-256 of a file, or a commit."""
    COUNT = auto()
    NUMBER = auto()
    DIFFERENCE = auto()
    """A number with a sign."""
    SETTING = auto()
    """A number that a recipe states, such as a sparsity; it has no more decimals than needed."""
    P_VALUE = auto()

    @property
    def is_number(self) -> bool:
        """Whether values are aligned at the decimal point."""
        return self in (Kind.COUNT, Kind.NUMBER, Kind.DIFFERENCE, Kind.SETTING, Kind.P_VALUE)


MEASURED = (Kind.NUMBER, Kind.DIFFERENCE)


def kind_of(name: str, values: Sequence[Value]) -> Kind:
    """Return the kind of a column, from its name and those of its values that are not NULL."""
    known = [value for value in values if value is not None]
    if not known:
        return Kind.TEXT
    if all(isinstance(value, bool) for value in known):
        return Kind.YES_NO
    if all(isinstance(value, int) and not isinstance(value, bool) for value in known):
        return Kind.COUNT
    if all(isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in known):
        return _kind_of_numbers(name)
    if all(isinstance(value, str) for value in known):
        return _kind_of_texts(known)
    return Kind.TEXT


def _kind_of_numbers(name: str) -> Kind:
    words = name.lower().split("_")
    if P_WORDS.intersection(words):
        return Kind.P_VALUE
    if DIFFERENCE_WORDS.intersection(words) and not UNSIGNED_WORDS.intersection(words):
        return Kind.DIFFERENCE
    return Kind.SETTING if words[-1] in SETTING_WORDS else Kind.NUMBER


def _kind_of_texts(texts: Sequence[str]) -> Kind:
    if all(_ID.fullmatch(text) for text in texts):
        return Kind.ID
    return Kind.DIGEST if all(_DIGEST.fullmatch(text) for text in texts) else Kind.TEXT


def decimals_of(name: str, values: Sequence[Value], *, kind: Kind, digits: int | None) -> int | None:
    """Return the decimals of a column of numbers; None if it is written in scientific notation.

    A setting has as many decimals as its values need, but at most `digits`. Notation is scientific if the largest value
    is not 0 and would be written as 0, or is at least 1e9.

    Args:
        digits: decimals that the user asks for; None for the default, which is smaller for seconds and GiB.
    """
    finite = [abs(float(value)) for value in values if value is not None and math.isfinite(value)]
    largest = max(finite, default=0.0)
    default = DECIMALS_OF_UNITS.get(name.rpartition("_")[2], DIGITS)
    most = default if digits is None else digits
    if largest >= LARGE or 0 < largest < 0.5 * 10**-most:
        return None
    if kind is Kind.SETTING:
        return next(
            (n for n in range(most) if all(abs(round(value, n) - value) < NEGLIGIBLE for value in finite)), most
        )
    return most


def number_text(value: Value, *, kind: Kind, decimals: int | None) -> str:
    """Write a number; a difference gets a sign, unless it rounds to 0. NULL is an empty text."""
    if value is None:
        return ""
    if kind is Kind.COUNT:
        return str(value)
    if decimals is not None and round(value, decimals) == 0:
        return f"{0:.{decimals}f}"
    sign = "+" if kind is Kind.DIFFERENCE and float(value) > 0 else ""
    return sign + (f"{value:.{DIGITS - 1}e}" if decimals is None else f"{value:.{decimals}f}")


def ratio_text(value: Value, *, decimals: int | None) -> str:
    """Write the ratio of a logarithm of a ratio, as `x1.250`. NULL is an empty text."""
    return (
        "" if value is None else f"x{math.exp(min(value, MOST_EXPONENT)):.{DIGITS if decimals is None else decimals}f}"
    )


def p_value_text(value: Value, *, digits: int | None) -> str:
    """Write a p-value with some significant digits, or as a bound: `0.0312`, `<0.001`. NULL is an empty text."""
    n_digits = DIGITS if digits is None else max(digits, 1)
    if value is None or not math.isfinite(value):
        return plain_text(value)
    least = 10.0**-n_digits
    return f"<{least:.{n_digits}f}" if value < least else f"{value:#.{n_digits}g}"


def other_text(value: Value, *, kind: Kind, id_length: int | None) -> str:
    """Write a value that is not a number; characters that a terminal would interpret are escaped.

    Args:
        id_length: digits of an id that are written; None to write ids and digests in full.
    """
    if kind is Kind.ID:
        return str(value)[:id_length]
    if kind is Kind.DIGEST:
        return str(value) if id_length is None else f"{value[:DIGEST_LENGTH]}…"
    return visible(_words(value)).expandtabs(TAB)


def _words(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, list | tuple) and not any(isinstance(item, list | tuple | Mapping) for item in value):
        return ", ".join(item if isinstance(item, str) else json_value(item) for item in value)
    return plain_text(value)


def aligned(texts: Sequence[str]) -> list[str]:
    """Pad texts of numbers to one width, with their decimal points below each other."""
    parts = [text.partition(".") for text in texts]
    left = max((len(before) for before, _, _ in parts), default=0)
    right = max((len(point + after) for _, point, after in parts), default=0)
    return [f"{before:>{left}}{point + after:<{right}}" for before, point, after in parts]


@dataclass(frozen=True)
class ShownColumn:
    """A column as it is shown."""

    name: str
    kind: Kind
    cells: tuple[str, ...]
    """One text per row; numbers are padded to the same width."""
    values: tuple[Value, ...]
    """What was formatted, to compare rows: per row a value, or a value with the ends of its interval."""

    def line(self, row: int) -> str:
        """Return the text of a row without line breaks."""
        return " ".join(self.cells[row].splitlines())

    @cached_property
    def width(self) -> int:
        """Cells of the widest text."""
        return max((cell_len(self.line(row)) for row in range(len(self.cells))), default=0)

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

    stem: str
    """P of `P_ci_low`; empty without P."""
    low: str
    high: str

    @property
    def name(self) -> str:
        """Name of the column if the interval is shown alone."""
        return self.low.removesuffix("_low")


def shown_columns(
    result: QueryResult,
    *,
    digits: int | None,
    id_length: int | None,
    joined: Mapping[str, Interval],
    joins_ends: bool = True,
) -> list[ShownColumn]:
    """Format the columns of a result that has rows.

    Args:
        digits: decimals of numbers; None for the default.
        id_length: digits of an id that are written; None for all.
        joined: column -> its interval, of `joined_intervals`.
        joins_ends: whether the ends of an interval that belongs to no column become one column.
    """
    values = dict(zip(result.columns, zip(*result.rows, strict=True), strict=True))
    kinds = {name: kind_of(name, column) for name, column in values.items()}
    others = [interval for interval in _intervals(kinds) if interval not in joined.values()] if joins_ends else []
    alone = {interval.low: interval for interval in others}
    ends = {end for interval in (*joined.values(), *others) for end in (interval.low, interval.high)}
    is_ratio = tuple(scale == LOG_RATIO for scale in values.get("scale", ()))
    columns = []
    for name in result.columns:
        ratios = is_ratio if kinds[name] is Kind.DIFFERENCE and name.endswith("difference") else ()
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


def joined_intervals(result: QueryResult, *, owners: Mapping[str, str] | None) -> dict[str, Interval]:
    """Return column -> the interval that is joined to it; see the rule of this module.

    Args:
        owners: as `interval_owners` returns them for the table, view or query that the columns come from; None if the
            columns of the result are those of a named query, in its order.
    """
    if not has_interval(result.columns) or not result.rows:
        return {}
    values = dict(zip(result.columns, zip(*result.rows, strict=True), strict=True))
    kinds = {name: kind_of(name, column) for name, column in values.items()}
    numbers = [name for name, kind in kinds.items() if kind.is_number and (kind is not Kind.COUNT or _END.search(name))]
    known = interval_owners(numbers) if owners is None else owners
    found: dict[str, Interval] = {}
    for interval in _intervals(kinds):
        stem = interval.stem
        owner = stem if stem in kinds else known.get(interval.low)
        if owner is None or owner in found or not (owner in kinds and kinds[owner].is_number):
            continue
        if owner == stem or _is_in_order(values[interval.low], values[owner], values[interval.high]):
            found[owner] = interval
    return found


def interval_owners(numbers: Sequence[str]) -> dict[str, str]:
    """Return the low end of each interval of a table, view or named query -> the column that it belongs to.

    Args:
        numbers: names of its columns with numbers that are not counts, in order.
    """
    owners = {}
    for place, low in enumerate(numbers):
        if (interval := _interval(low)) is not None and interval.high in numbers:
            measured = (
                name
                for name in reversed(numbers[:place])
                if name.startswith(interval.stem) and not _END.search(name) and kind_of(name, (0.5,)) in MEASURED
            )
            owner = interval.stem if interval.stem in numbers else next(measured, None)
            owners.update({} if owner is None else {low: owner})
    return owners


def has_interval(names: Iterable[str]) -> bool:
    """Whether one of the columns is named like the low end of an interval."""
    return any(map(_LOW.fullmatch, names))


def _interval(low: str) -> Interval | None:
    match = _LOW.fullmatch(low)
    return None if match is None else Interval(match["stem"] or "", low, f"{low.removesuffix('low')}high")


def _intervals(kinds: Mapping[str, Kind]) -> list[Interval]:
    """Return the intervals of columns whose ends are numbers, in order."""
    found = (interval for name in kinds if (interval := _interval(name)) is not None)
    return [one for one in found if one.high in kinds and kinds[one.low].is_number and kinds[one.high].is_number]


def _is_in_order(lows: Sequence[Value], values: Sequence[Value], highs: Sequence[Value]) -> bool:
    """Whether each value is between the ends of its interval; a row that lacks one of the three is."""
    rows = zip(lows, values, highs, strict=True)
    return all(None in row or row[0] <= row[1] <= row[2] for row in rows)


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
    return ShownColumn(name or interval.name, numbers.kind, cells, rows)


def _cells(name: str, column: Sequence[Value], *, numbers: _Numbers, id_length: int | None) -> Sequence[str]:
    """Format a column without an interval."""
    kind, digits = numbers.kind, numbers.digits
    if kind is Kind.P_VALUE:
        return aligned([p_value_text(value, digits=digits) for value in column])
    if kind.is_number:
        return numbers.texts(column, decimals=decimals_of(name, column, kind=kind, digits=digits))
    return ["" if value is None else other_text(value, kind=kind, id_length=id_length) for value in column]
