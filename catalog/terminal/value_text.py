"""Texts of values for people: numbers with some decimals, short ids, times without fractions of seconds."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from catalog.results import Value, json_value, plain_text
from catalog.terminal.column_kinds import DECIMALS_OF_UNITS, Kind
from catalog.visible_text import visible

DIGITS = 3
"""Default decimals of a number, and default significant digits of a p-value."""
DIGEST_LENGTH = 12
LARGE = 1e9
"""Numbers from here on are written in scientific notation."""
TAB = 4
MOST_EXPONENT = 700.0
NEGLIGIBLE = 1e-9
"""Difference from a decimal fraction that is due to floating-point numbers."""


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
    """Write a number; a difference gets a sign, unless it is 0. NULL is an empty text."""
    if value is None:
        return ""
    if kind is Kind.COUNT:
        return str(value)
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
