"""Base of the models that check what a recipe says: strict types of values, and validators that several models use.

pydantic would read the text '0.3' as a number, 4.0 as 4 and true as 1. In a recipe these are mistakes. Other
errors are left to pydantic, which reports the place in a list.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Final, Literal, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from mlprune.errors import RecipeError
from mlprune.languages import language_tag

Value = TypeVar("Value")

Language = Annotated[str, Field(min_length=2, title="language"), AfterValidator(language_tag)]
UNKNOWN_NAME: Final = "unknown_name"
"""Type of the errors of `unknown_name` in pydantic's list of errors."""
RECIPE_ERROR: Final = "recipe_error"
"""Type of the errors of `with_context` in pydantic's list of errors."""


def unknown_name(what: str, got: str, known: Iterable[str], *, key: str = "") -> PydanticCustomError:
    """Return the error of a validator for a name that is not one of the known names.

    Loading a recipe turns it into a RecipeError with the nearest name.

    Args:
        key: path to the name below the key that pydantic reports.
    """
    context = {"what": what, "got": got, "known": list(known), "key": key}
    return PydanticCustomError(UNKNOWN_NAME, "unknown {what}: {got}", context)


def with_context(err: RecipeError) -> PydanticCustomError:
    """Return the error of a validator for an error whose context a message shows next to the recipe and the key."""
    return PydanticCustomError(RECIPE_ERROR, "{message}", {"message": err.message, "context": err.context})


def as_tuple(value: object) -> object:
    """Return a single value as a tuple, for a field that takes one value or a list."""
    return value if isinstance(value, list | tuple) else (value,)


def distinct_values(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return the values.

    Raises:
        ValueError: there are none, or two are equal.
    """
    if not values or len(set(values)) != len(values):
        raise ValueError(f"one value or several different ones, got {list(values)}")
    return values


def as_pairs(value: object) -> object:
    """Return a mapping as sorted pairs, so that the model is hashable."""
    if not isinstance(value, dict):
        return value
    return tuple(sorted(value.items(), key=lambda item: str(item[0])))


class Model(BaseModel):
    """Base of all recipe models: frozen; an unknown key, a number that is not finite, or a number, text or truth value
    in the place of another one is an error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _types_are_strict(cls, value: object, info: ValidationInfo) -> object:
        """Refuse `'0.3'` for a number, `4.0` for a whole number, and `true` for either."""
        refuse_other_scalars(value, cls.model_fields[str(info.field_name)].annotation)
        return value


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
