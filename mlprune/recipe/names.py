"""What the type of a key says beyond its values: the entries that it names, and the capability that it belongs to.

    demonstrations: Annotated[str | None, NamesOf("sets")] = None
    baselines: Annotated[tuple[BaselineConfig, ...], OfCapability("baselines")] = ()

One check serves all keys of a kind.
"""

from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

from mlprune.strict_model import Model, unknown_name

Named = Literal["sets", "variants", "evaluated"]
"""Demonstration sets; entries of variants; or these and baselines, which are evaluated."""


Marker = TypeVar("Marker")


@dataclass(frozen=True)
class NamesOf:
    """Marks a key whose value is a name, or has names: text, entries with a key `name`, or lists of these."""

    named: Named
    not_itself: bool = False
    """Whether an entry cannot name itself."""
    words: tuple[str, ...] = ()
    """Values that are no names."""


@dataclass(frozen=True)
class OfCapability:
    """Marks a key that only a capability reads."""

    name: str


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
        marker = _marker(type(section), key, NamesOf)
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


def missing_capabilities(section: Model, present: Collection[str], *, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and capability of the keys in a section that have a value and whose capability is not present.

    Args:
        where: path of the section in the recipe.
    """
    for key, field in type(section).model_fields.items():
        value, path = getattr(section, key), f"{where}.{key}" if where else key
        marker = _marker(type(section), key, OfCapability)
        if marker is not None and marker.name not in present and value != field.get_default(call_default_factory=True):
            yield path, marker.name
        for at, entry in enumerate(value) if isinstance(value, tuple) else ():
            if isinstance(entry, Model):
                yield from missing_capabilities(entry, present, where=f"{path}.{at}")
        if isinstance(value, Model):
            yield from missing_capabilities(value, present, where=path)


@cache
def _marker(model: type[Model], key: str, kind: type[Marker]) -> Marker | None:
    return next((one for one in model.model_fields[key].metadata if isinstance(one, kind)), None)


def _names_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _names_in(item)
    elif isinstance(value, Model):
        yield from _names_in(getattr(value, "name", None))
