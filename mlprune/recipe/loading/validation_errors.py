"""Errors of pydantic as one line: what is wrong, where, what is expected, and what the recipe has."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mlprune.errors import RecipeError, unknown
from mlprune.recipe.base import RECIPE_ERROR, UNKNOWN_NAME
from mlprune.recipe.loading.sections import keys_at

_UNION_MEMBER = re.compile(r"(constrained|function)-.+|float|int|str|bool")
MAX_SHOWN_CHARACTERS = 80
"""Characters of a wrong text that a message repeats."""
YAML_BOOLEANS = "YAML reads no, off, yes and on as false or true, so write them in quotes"
_OPENING = re.compile(r"^\w+ should (be|have) ")
"""Opening of pydantic's messages."""
_EXPECTED: Mapping[str, str] = {
    "greater_than": "a number > {gt:g}",
    "greater_than_equal": "a number >= {ge:g}",
    "less_than": "a number < {lt:g}",
    "less_than_equal": "a number <= {le:g}",
    "finite_number": "a finite number",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "literal_error": "{expected}",
    "string_too_short": "a text of at least {min_length} characters",
    "string_too_long": "a text of at most {max_length} characters",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "too_short": "a list of at least {min_length} values",
    "too_long": "a list of at most {max_length} values",
}
"""Type of an error of pydantic -> the expected value, with the error's context filled in."""


def first_error(err: ValidationError, *, where: str) -> RecipeError:
    """Return the first error as one line.

    Args:
        where: the recipe, for the message.
    """
    first = err.errors(include_url=False)[0]
    is_unknown_key = first["type"] == "extra_forbidden"
    location = ".".join(map(str, first["loc"]) if is_unknown_key else _keys_of(first["loc"]))
    more: dict[str, Any] = {"more_errors": err.error_count() - 1} if err.error_count() > 1 else {}
    if is_unknown_key:
        known = keys_at(first["loc"])
        return unknown("key", first["loc"][-1], known, error=RecipeError, where=where, key=location, **more)
    if first["type"] == UNKNOWN_NAME:
        context = first["ctx"]
        key = ".".join(filter(None, [location, context["key"]]))
        return unknown(
            context["what"], context["got"], context["known"], error=RecipeError, where=where, key=key, **more
        )
    if first["type"] == RECIPE_ERROR:
        return RecipeError(first["ctx"]["message"], where=where, key=location, **first["ctx"]["context"], **more)
    if first["type"] == "missing":
        return RecipeError("a key is missing", where=where, key=location, **more)
    is_plain = isinstance(first["input"], (str, int, float, type(None)))
    value = first["input"][:MAX_SHOWN_CHARACTERS] if isinstance(first["input"], str) else first["input"]
    got = {"got": value if is_plain else type(value).__name__}
    if first["type"] == "value_error":
        message, expected = str(first["ctx"]["error"]), {}
        got = got if is_plain and str(first["input"]) not in message else {}
    else:
        message, expected = "the recipe is invalid", {"expected": _expected(first)}
    return RecipeError(message, where=where, key=location or "recipe", **expected, **got, **more)


def _keys_of(location: Sequence[int | str]) -> list[str]:
    """The keys and indices of a location of pydantic, without the types of a union that pydantic appends."""
    parts = [str(part) for part in location]
    while parts and _UNION_MEMBER.fullmatch(parts[-1]):
        parts.pop()
    return parts


def _expected(error: ErrorDetails) -> str:
    """The value that a check of pydantic expects."""
    if error["type"] == "string_type" and isinstance(error["input"], bool):
        return f"a text; {YAML_BOOLEANS}"
    text = _EXPECTED.get(error["type"])
    return _OPENING.sub("", error["msg"]) if text is None else text.format(**error.get("ctx", {}))
