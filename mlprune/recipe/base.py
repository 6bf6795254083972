"""What the sections of a recipe have in common: frozen models, languages, pairs."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from mlprune.languages import language_tag

Language = Annotated[str, Field(min_length=2, title="language"), AfterValidator(language_tag)]
UNKNOWN_NAME: Final = "unknown_name"
"""Type, in pydantic's list of errors, of what `unknown_name` makes."""
_PAIR = re.compile(r"(?P<source>[A-Za-z]{2,3}([-_][A-Za-z]{4})?)-(?P<target>[A-Za-z]{2,3}([-_][A-Za-z]{4})?)")

SEED_BITS = 63
"""Bits of a seed: the catalog stores seeds as signed integers of 64 bits."""


def _check_seed(value: int) -> int:
    """Refuse an integer that does not fit into a column of the catalog."""
    if not -(2**SEED_BITS) <= value < 2**SEED_BITS:
        raise ValueError(f"a seed is an integer from -2**{SEED_BITS} to 2**{SEED_BITS} - 1")
    return value


Seed = Annotated[int, AfterValidator(_check_seed)]


def pair_languages(pair: str) -> tuple[str, str]:
    """`fr-en` as (fr, en), both as stored tags; `zh-Hant-en` and `zho_Hant-eng_Latn` are (zh-Hant, en).

    Raises:
        ValueError: it is no pair of two languages.
    """
    found = _PAIR.fullmatch(pair)
    if found is None:
        raise ValueError(f"a pair is written fr-en, got {pair!r}")
    source, target = language_tag(found["source"]), language_tag(found["target"])
    if source == target:
        raise ValueError(f"source and target of the pair {pair!r} are both {source}")
    return source, target


def unknown_name(what: str, got: str, known: Iterable[str], *, key: str = "") -> PydanticCustomError:
    """The error of a validator for a name that is not one of the known names.

    `load_recipe` turns it into a RecipeError with the nearest name.

    Args:
        key: where the name is, below the place that pydantic reports.
    """
    context = {"what": what, "got": got, "known": list(known), "key": key}
    return PydanticCustomError(UNKNOWN_NAME, "unknown {what}: {got}", context)


def as_tuple(value: Any) -> Any:
    """One value as a list of one, for a field that takes either."""
    return value if isinstance(value, list | tuple) else (value,)


@dataclass(frozen=True)
class RegisteredName:
    """Validator of the names of a registry."""

    names: tuple[str, ...]

    @property
    def title(self) -> str:
        """The names for the recipe reference."""
        return ", ".join(f"`{name}`" for name in self.names)

    def __call__(self, name: str) -> str:
        """Return the name.

        Raises:
            ValueError: it is not registered.
        """
        if name not in self.names:
            near = difflib.get_close_matches(name, self.names, n=1)
            hint = f", nearest: {near[0]!r}" if near else ""
            raise ValueError(f"expected one of {list(self.names)}{hint}")
        return name


def one_of(registry: Iterable[str]) -> RegisteredName:
    """Return the validator of a registry's names."""
    return RegisteredName(tuple(registry))


class Model(BaseModel):
    """Base of all recipe models: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)
