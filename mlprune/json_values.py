"""Types of JSON values, as they occur in records, recipes and run logs, and conversion to the type a caller expects."""

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

JsonValue: TypeAlias = bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
JsonObject: TypeAlias = Mapping[str, JsonValue]
Row: TypeAlias = dict[str, JsonValue]
"""One row of a table, as a record has it: column -> value."""


def parse_json(text: str | bytes) -> JsonValue:
    """Parse JSON; raises ValueError if it is not JSON, or is nested too deeply for the parser."""
    try:
        value: JsonValue = json.loads(text)
    except RecursionError as err:
        raise ValueError("the JSON is nested too deeply") from err
    return value


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
