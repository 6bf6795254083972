"""Base model of recipe sections, strict types of values, and validators that several sections use.

Strict types of numbers and truth values in recipes.

pydantic would read the text '0.3' as a number, 4.0 as 4 and true as 1. In a recipe these are mistakes. Other
errors are left to pydantic, which reports the place in a list.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, create_model, field_validator
from pydantic_core import PydanticCustomError

from mlprune.errors import RecipeError
from mlprune.languages import language_tag


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


Value = TypeVar("Value")

Language = Annotated[str, Field(min_length=2, title="language"), AfterValidator(language_tag)]
UNKNOWN_NAME: Final = "unknown_name"
"""Type of the errors of `unknown_name` in pydantic's list of errors."""
RECIPE_ERROR: Final = "recipe_error"
"""Type of the errors of `with_context` in pydantic's list of errors."""

MOST_ITEMS = 1_000_000_000
"""Largest limit of items, far above the items of any task: a larger number is a mistake."""
MAX_NAME_CHARACTERS = 200
DENSE_LABEL: Final = "dense"


def _check_name(name: str) -> str:
    """Refuse names that cannot be shown in a line or that mean something else."""
    if len(name) > MAX_NAME_CHARACTERS:
        raise ValueError(f"a name has at most {MAX_NAME_CHARACTERS} characters, and this one has {len(name)}")
    control = [character for character in name if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")]
    if control or not name.strip():
        raise ValueError(f"a name is one line of visible characters, got {name[:40]!r}")
    return name


def _check_not_dense(name: str) -> str:
    """Refuse the label of the dense model, which every recipe evaluates."""
    if name == DENSE_LABEL:
        raise ValueError(f"{DENSE_LABEL!r} is the label of the model that is not pruned: choose another name")
    return name


Name = Annotated[str, Field(min_length=1), AfterValidator(_check_name)]
EntryName = Annotated[Name, AfterValidator(_check_not_dense)]
"""Name of an entry that makes variants."""


SEED_BITS = 63
"""Bits of a seed: the catalog stores seeds as signed integers of 64 bits."""


def _check_seed(value: int) -> int:
    """Refuse an integer that does not fit into a column of the catalog."""
    if not -(2**SEED_BITS) <= value < 2**SEED_BITS:
        raise ValueError(f"a seed is an integer from -2**{SEED_BITS} to 2**{SEED_BITS} - 1")
    return value


Seed = Annotated[int, AfterValidator(_check_seed)]


def unknown_name(what: str, got: str, known: Iterable[str], *, key: str = "") -> PydanticCustomError:
    """Return the error of a validator for a name that is not one of the known names.

    `load_recipe` turns it into a RecipeError with the nearest name.

    Args:
        key: path to the name below the key that pydantic reports.
    """
    context = {"what": what, "got": got, "known": list(known), "key": key}
    return PydanticCustomError(UNKNOWN_NAME, "unknown {what}: {got}", context)


def with_context(err: RecipeError) -> PydanticCustomError:
    """Return the error of a validator for an error whose context `load_recipe` shows next to the file and the key."""
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


@dataclass(frozen=True)
class RegisteredName:
    """Validator of the names of a registry."""

    kind: str
    """The kind of name, for messages."""
    names: tuple[str, ...]

    @property
    def title(self) -> str:
        """The names for the recipe reference."""
        return ", ".join(f"`{name}`" for name in self.names)

    def __call__(self, name: str) -> str:
        """Return the name.

        Raises:
            PydanticCustomError: it is not registered.
        """
        if name not in self.names:
            raise unknown_name(self.kind, name, self.names)
        return name


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


AnyModel = TypeVar("AnyModel", bound=Model)

IMPORT_KEY = "import"
MEANING = (
    "Import the model into the model cache before it is used, once, as `mlprune import` does; needs --allow-import on "
    "the command line. Ids do not depend on it."
)


def with_import_key(name: str, base: type[AnyModel], *, meaning: str = MEANING) -> type[AnyModel]:
    """Return a model with the key in addition.

    Args:
        name: of the new model.
        meaning: description of the key.
    """
    field = (bool, Field(default=False, description=meaning))
    options = {"__base__": base, "__module__": base.__module__, "__doc__": base.__doc__, IMPORT_KEY: field}
    model: type[AnyModel] = create_model(name, **options)  # type: ignore[call-overload]
    return model


def wants_import(config: Model) -> bool:
    """Whether an entry has the key `import` with the value true."""
    return bool(getattr(config, IMPORT_KEY, False))
