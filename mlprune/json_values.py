"""Types of JSON values, as they occur in records, recipes and run logs, and conversion to the type a caller expects."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

JsonValue: TypeAlias = bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
JsonObject: TypeAlias = Mapping[str, JsonValue]
Row: TypeAlias = dict[str, JsonValue]
"""One row of a table, as a record has it: column -> value."""
MOST_DIGITS = 20
"""Characters of the longest integer of 64 bits."""


def parse_json(text: str | bytes) -> JsonValue:
    """Parse JSON; raises ValueError if it is not JSON, or is nested too deeply for the parser."""
    try:
        value: JsonValue = json.loads(text)
    except RecursionError as err:
        raise ValueError("the JSON is nested too deeply") from err
    return value


def parse_given_json(text: str | bytes) -> JsonValue:
    """Parse JSON that another program or person wrote, so that every value of it fits the catalog.

    Numbers that are not finite become texts such as `NaN`.

    Raises:
        ValueError: it is not JSON or is nested too deeply, an integer has more than 64 bits, or a text contains half of
            a surrogate pair.
    """
    try:
        value: JsonValue = json.loads(text, parse_int=_integer, parse_float=_finite, parse_constant=str)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as err:
        raise ValueError("the JSON is nested too deeply") from err
    except UnicodeEncodeError as err:
        raise ValueError("a text contains half of a surrogate pair, which is not a character") from err
    return value


def _integer(text: str) -> int:
    value = int(text) if len(text) <= MOST_DIGITS else None
    if value is None or not -(2**63) <= value < 2**63:
        raise ValueError(f"an integer has more than 64 bits: {text[:MOST_DIGITS]}")
    return value


def _finite(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text[:MOST_DIGITS]


def json_text(value: JsonValue) -> str:
    """Return indented JSON with a final newline, for files that people read too; letters outside ASCII stay."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def as_str(value: JsonValue) -> str:
    """Return a value that has to be a string; raises TypeError if it is not."""
    if isinstance(value, str):
        return value
    raise TypeError(f"expected a string, got {value!r}")


def as_int(value: JsonValue) -> int:
    """Return a value that has to be an integer; raises TypeError if it is not."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError(f"expected an integer, got {value!r}")


def as_float(value: JsonValue) -> float:
    """Return a value that has to be a number, as a float; raises TypeError if it is not."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise TypeError(f"expected a number, got {value!r}")


def as_object(value: JsonValue) -> JsonObject:
    """Return a value that has to be an object; raises TypeError if it is not."""
    if isinstance(value, Mapping):
        return value
    raise TypeError(f"expected an object, got {value!r}")


def as_list(value: JsonValue) -> Sequence[JsonValue]:
    """Return a value that has to be a list; raises TypeError if it is not."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return value
    raise TypeError(f"expected a list, got {value!r}")
