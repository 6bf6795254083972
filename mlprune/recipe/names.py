"""What the type of a key says beyond its values: the entries that it names, its capability, and kinds of entries.

    demonstrations: Annotated[str | None, NamesOf("sets")] = None
    baselines: Annotated[tuple[BaselineConfig, ...], OfCapability("baselines")] = ()

One check serves all keys of a kind.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

from mlprune.deprecation import Deprecated, warn_deprecated
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
    """Values that are not names."""


@dataclass(frozen=True)
class OfCapability:
    """Marks a key that only a capability reads, or some of whose values only a capability knows."""

    name: str
    values: tuple[str, ...] = ()
    """These values; empty for all."""


@dataclass(frozen=True)
class KeysOf:
    """Marks a key whose value maps keys of another class to values, such as the base of a search."""

    model: type[Model]
    lists: bool = False
    """Whether it maps each key to several values."""


@dataclass(frozen=True)
class MeasuredBy:
    """Marks a key of evaluations that asks for metrics which other evaluations do not have; see `MetricTraits.key`."""

    plan: str
    """Function that plans the measurement of an evaluation, as `module:name`; see `PlanMeasurement`."""


@dataclass(frozen=True)
class WithoutScore:
    """Marks a key of variants that entries without a score may have."""

    kinds: tuple[str, ...] = ()
    """Only these kinds of entries; empty for all."""
    chooses: bool = False
    """Whether an entry with the key is of this kind."""


def check_names(section: Model, known: Mapping[Named, Set[str]], *, where: str = "") -> None:
    """Check all names in a section and the sections inside it.

    Args:
        known: names of the recipe's entries.
        where: path of the section in the recipe.
    Raises:
        PydanticCustomError: one is unknown.
    """
    for entry, key, place in _keys(section, where):
        for marker in markers(type(entry), key, NamesOf):
            names, own = known[marker.named], getattr(entry, "name", None) if marker.not_itself else None
            for name in _names_in(getattr(entry, key)):
                if (name not in names or name == own) and name not in marker.words:
                    raise unknown_name(f"name in {key}", name, sorted(names - {own}), key=_path(place, key))


def missing_capabilities(section: Model, present: Collection[str], *, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and capability of the keys in a section that have a value and whose capability is not present.

    Args:
        where: path of the section in the recipe.
    """
    own = ((type(entry), key, getattr(entry, key), _path(place, key)) for entry, key, place in _keys(section, where))
    for model, key, value, path in (*own, *keys_in_mappings(section, where=where)):
        for marker in markers(model, key, OfCapability):
            default = model.model_fields[key].get_default(call_default_factory=True)
            if marker.name not in present and (value in marker.values if marker.values else value != default):
                yield path, marker.name


def warn_of_deprecated_keys(section: Model) -> None:
    """Warn of each deprecated key that a section, or a section inside it, was given, once however many entries have it.

    A key is deprecated if its type has a `Deprecated`.
    """
    given = {
        (re.sub(r"\.\d+\b", "", _path(place, key)), declaration)
        for entry, key, place in _keys(section, "")
        for declaration in markers(type(entry), key, Deprecated)
        if key in entry.model_fields_set
    }
    for path, declaration in sorted(given, key=lambda pair: pair[0]):
        warn_deprecated(f"recipe key {path}", declaration, stacklevel=2)


def keys_in_mappings(section: Model, *, where: str = "") -> Iterator[tuple[type[Model], str, object, str]]:
    """Yield class, key, value and path of keys of other classes in mappings of a section and the sections inside it.

    Keys below them, such as `schedule.spread`, are left out.

    Args:
        where: path of the section in the recipe.
    """
    for entry, key, place in _keys(section, where):
        for marker in markers(type(entry), key, KeysOf):
            for inner, given in getattr(entry, key).items():
                if inner in marker.model.model_fields:
                    for value in given if marker.lists else (given,):
                        yield marker.model, inner, value, f"{_path(place, key)}.{inner}"


@cache
def markers(model: type[Model], key: str, kind: type[Marker]) -> tuple[Marker, ...]:
    """Return the marks of a kind that a key has."""
    return tuple(one for one in model.model_fields[key].metadata if isinstance(one, kind))


def measured_by(entry: Model) -> str:
    """Return the function that plans what an evaluation measures in addition, as `module:name`; empty for none."""
    keys = [key for key in type(entry).model_fields if getattr(entry, key)]
    return next((marker.plan for key in keys for marker in markers(type(entry), key, MeasuredBy)), "")


def _keys(section: Model, where: str) -> Iterator[tuple[Model, str, str]]:
    """Yield section, name and path of the section for every key in a section and in the sections inside it."""
    for key in type(section).model_fields:
        yield section, key, where
        value = getattr(section, key)
        if isinstance(value, Model):
            yield from _keys(value, _path(where, key))
        elif isinstance(value, tuple):
            for index, entry in enumerate(value):
                if isinstance(entry, Model):
                    yield from _keys(entry, f"{_path(where, key)}.{index}")


def _path(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _names_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _names_in(item)
    elif isinstance(value, Model):
        yield from _names_in(getattr(value, "name", None))
