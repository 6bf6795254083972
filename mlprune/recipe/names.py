"""Keys that name other entries of a recipe: the type of a key says it, and one check serves all.

demonstrations: Annotated[str | None, NamesOf("sets")] = None
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from typing import Literal

from mlprune.strict_model import Model, unknown_name

Named = Literal["sets", "variants", "evaluated"]
"""Demonstration sets; entries of variants; or these and baselines, which are evaluated."""


@dataclass(frozen=True)
class NamesOf:
    """Marks a key whose value is a name, or has names: text, entries with a key `name`, or lists of these."""

    named: Named
    not_itself: bool = False
    """Whether an entry cannot name itself."""
    words: tuple[str, ...] = ()
    """Values that are no names."""


def check_names(section: Model, known: Mapping[Named, Set[str]], *, where: str = "") -> None:
    """Check all names in a section and the sections inside it.

    Args:
        known: names of the recipe's entries.
        where: path of the section in the recipe.
    Raises:
        PydanticCustomError: one is unknown.
    """
    own = {getattr(section, "name", None)}
    for key in type(section).model_fields:
        value, path = getattr(section, key), f"{where}.{key}" if where else key
        marker = _marker(type(section), key)
        if marker is not None:
            names = known[marker.named] - own if marker.not_itself else known[marker.named]
            for name in _names_in(value):
                if name not in names and name not in marker.words:
                    raise unknown_name(f"name in {key}", name, sorted(names), key=path)
        elif isinstance(value, Model):
            check_names(value, known, where=path)
        elif isinstance(value, tuple):
            for index, entry in enumerate(value):
                if isinstance(entry, Model):
                    check_names(entry, known, where=f"{path}.{index}")


@cache
def _marker(model: type[Model], key: str) -> NamesOf | None:
    return next((one for one in model.model_fields[key].metadata if isinstance(one, NamesOf)), None)


def _names_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _names_in(item)
    elif isinstance(value, Model):
        yield from _names_in(getattr(value, "name", None))
