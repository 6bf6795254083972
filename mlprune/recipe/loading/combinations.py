"""Combinations of the lists in an entry of a recipe, without those that `exclude` leaves out."""

import itertools
from collections.abc import Mapping
from typing import Any

from mlprune.errors import RecipeError, unknown

Entry = Mapping[str, Any]
"""An entry of a section as YAML has it."""
LIST_KEYS = {"parts", "against", "over", "shares", "of"}
"""Keys whose value is always a list. A list under any other key of an entry multiplies out."""
PARAMETERS = "parameters"
"""Key with the parameters of plug-ins, a mapping whose lists multiply out like those of the entry. A value that is a
list itself is written as a list of one list."""


def axes_of(entry: Entry) -> dict[str, int]:
    """Return the lists of an entry that multiply out, with their lengths: key -> length."""
    lists = {key: value for key, value in entry.items() if key not in LIST_KEYS and key != "exclude"}
    inner = entry.get(PARAMETERS)
    if isinstance(inner, dict):
        lists |= {f"{PARAMETERS}.{name}": value for name, value in inner.items()}
    return {key: len(value) for key, value in lists.items() if isinstance(value, list) and value}


def expand_entry(entry: Entry) -> list[Entry]:
    """All combinations of the lists in an entry. The last key varies fastest; an empty list stays and is refused later.

    `exclude` is a list of mappings. A combination that agrees with all keys of one mapping is left out.

    Raises:
        RecipeError: `exclude` is not a list of mappings, has a key that the entry does not have, or removes no
            combination or all of them.
    """
    exclude = entry.get("exclude")
    entry = {key: _multiplied(key, value) for key, value in entry.items() if key != "exclude"}
    keys = [key for key, value in entry.items() if isinstance(value, list) and value and key not in LIST_KEYS]
    combinations = itertools.product(*(entry[key] for key in keys))
    expanded: list[Entry] = [{**entry, **dict(zip(keys, combination, strict=True))} for combination in combinations]
    return expanded if exclude is None else _without(expanded, exclude, entry=entry)


def _multiplied(key: str, value: object) -> object:
    """The combinations of the lists in the parameters of plug-ins; any other value as it is."""
    if key != PARAMETERS or not isinstance(value, dict):
        return value
    lists = [inner if isinstance(inner, list) and inner else [inner] for inner in value.values()]
    multiplied = [dict(zip(value, combination, strict=True)) for combination in itertools.product(*lists)]
    return multiplied if len(multiplied) > 1 else multiplied[0]


def _without(expanded: list[Entry], exclude: object, *, entry: Entry) -> list[Entry]:
    """The combinations that agree with no mapping of `exclude`."""
    mappings = [exclude] if isinstance(exclude, dict) else exclude
    if not isinstance(mappings, list) or not all(isinstance(mapping, dict) and mapping for mapping in mappings):
        expected = "[{score: random, sparsity: 0.5}]"
        raise RecipeError("exclude is not a list of mappings", expected=expected, got=exclude)
    kept = expanded
    for mapping in mappings:
        for key in mapping:
            if key not in entry:
                raise unknown("key in exclude: the entry does not have it", key, sorted(entry), error=RecipeError)
        remaining = [
            combination
            for combination in kept
            if not all(_agrees(combination[key], value) for key, value in mapping.items())
        ]
        if len(remaining) == len(kept):
            raise RecipeError("exclude removes nothing", got=mapping, n_combinations=len(kept))
        kept = remaining
    if not kept:
        raise RecipeError("exclude removes every combination of an entry", got=exclude, n_combinations=len(expanded))
    return kept


def _agrees(value: object, excluded: object) -> bool:
    """Whether a value of a combination is the excluded value, or in the list of excluded values."""
    return value == excluded or (isinstance(excluded, list) and value in excluded)
