"""Strict types of numbers and truth values in recipes.

pydantic would read the text '0.3' as a number, 4.0 as 4 and true as 1. In a recipe these are mistakes. Other
errors are left to pydantic, which reports the place in a list.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, get_args, get_origin

from pydantic_core import PydanticCustomError


def refuse_other_scalars(value: object, annotation: object) -> None:
    """Check the scalars in a value, which may be a list, against the scalar types of an annotation.

    Raises:
        PydanticCustomError: pydantic would convert one of them to another type.
    """
    allowed = set(_scalar_types(annotation))
    for scalar in _scalars(value):
        if _would_be_converted(scalar, allowed):
            raise _error(allowed)


def _scalars(value: object) -> Iterator[object]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _scalars(part)
    else:
        yield value


def _scalar_types(annotation: object) -> Iterator[type]:
    """Yield the scalar types inside an annotation."""
    if annotation in (bool, int, float, str):
        yield annotation
        return
    if get_origin(annotation) is Literal:
        yield from (type(value) for value in get_args(annotation))
        return
    arguments = get_args(annotation)
    for argument in arguments[:1] if get_origin(annotation) is Annotated else arguments:
        yield from _scalar_types(argument)


def _would_be_converted(value: object, allowed: set[type]) -> bool:
    if type(value) in allowed or not allowed & {bool, int, float}:
        return False
    if isinstance(value, str):
        return _is_number_or_truth(value)
    if isinstance(value, bool):
        return bool(allowed & {int, float})
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and float not in allowed


def _is_number_or_truth(text: str) -> bool:
    if text.strip().lower() in ("true", "false", "yes", "no", "on", "off", "t", "f", "y", "n"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _error(allowed: set[type]) -> PydanticCustomError:
    names = {float: "float_type", int: "int_type", bool: "bool_type"}
    return PydanticCustomError(next(name for kind, name in names.items() if kind in allowed), "another type")
