"""Sections of a recipe with lists, combinations of the lists in an entry, and limits on their number.

Limits on what the lists of a recipe multiply out to, counted from their lengths before anything is built.

A recipe with more variants, demonstration sets or evaluations than `MOST` is refused unless the user allows it. The
numbers are upper bounds: equal variants of two entries count twice.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, get_args

from mlprune.errors import RecipeError, unknown
from mlprune.recipe.models import Recipe
from mlprune.recipe.variant_fields import DERIVATIONS
from mlprune.recipe.variants import VariantConfig
from mlprune.strict_model import Model

HIDDEN = {"folder", "n_excluded"}
"""Fields of a recipe that `load_recipe` sets; a user cannot."""
MULTIPLIED = ("demonstrations", "variants")
"""Sections whose entries multiply out: a key of an entry may have a list of values."""
Entry = Mapping[str, Any]
"""An entry of a section as YAML has it."""
LIST_KEYS = {"parts", "against", "over", "shares", "of"}
"""Keys whose value is always a list. A list under any other key of an entry multiplies out."""
PARAMETERS = "parameters"
"""Key with the parameters of plug-ins, a mapping whose lists multiply out like those of the entry. A value that is a
list itself is written as a list of one list."""
MOST = 20_000
"""Most variants, demonstration sets or evaluations that a recipe may have without further ado; planning one of them
takes about a millisecond."""
MOST_AXES = 5
"""Longest lists that an error names."""
_WORDS: Mapping[str, str] = {"demonstrations": "demonstration sets"}
"""Section -> what its entries make, if that is not the name of the section."""
_EVALUATED = ("languages", "pairs", "rule", "prompt_language", "shot_seed", "profile")
"""Lists of an evaluation that multiply out."""
Seeds = Mapping[str, Counter[int]]
"""Name of demonstration sets -> seed -> number of sets."""


def model_of(model: type[Model], key: str) -> type[Model] | None:
    """The model of a section inside another one, or None if the key is not a section."""
    field = model.model_fields.get(key)
    return next(_models_in(field.annotation), None) if field is not None else None


def keys_at(location: Sequence[int | str]) -> list[str]:
    """The keys that are allowed next to a key of a recipe, sorted.

    Args:
        location: path to the key from the top of the recipe, with indices of lists.
    """
    model: type[Model] = Recipe
    *sections, _ = location
    for part in sections:
        model = model_of(model, str(part)) or model
    is_entry = len(location) == 3 and location[0] in MULTIPLIED
    return sorted({*model.model_fields, *(["exclude"] if is_entry else [])} - HIDDEN)


def _models_in(annotation: object) -> Iterator[type[Model]]:
    """The section models inside a type such as `tuple[VariantConfig, ...]` or `ActivationsConfig | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _sections(model: type[Model]) -> Iterator[tuple[str, type[Model]]]:
    """Sections with those inside them, in the order of their fields."""
    for key in model.model_fields:
        section = model_of(model, key)
        if section is not None:
            yield key, section
            yield from _sections(section)


SECTIONS: Mapping[str, type[Model]] = dict(_sections(Recipe))
"""Key -> model of every section, in the order of a recipe. Sections inside an entry follow the entry's section."""


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


def require_few_combinations(content: Entry, *, where: str) -> None:
    """Check the number of combinations in the lists of entries, before they are made.

    Raises:
        RecipeError: a section has more than `MOST`.
    """
    for section in MULTIPLIED:
        n_combinations = sum(prod(axes_of(entry).values()) for entry in _entries(content, section))
        if n_combinations > MOST:
            raise _too_many(section, n_combinations, content, where=where)


def require_few(recipe: Recipe, content: Entry, *, where: str) -> None:
    """Check the number of variants and of evaluations of a valid recipe, before they are planned.

    Args:
        content: the recipe as it was given.
    Raises:
        RecipeError: it has more than `MOST`.
    """
    for section, count in (("variants", count_variants(recipe)), ("evaluations", count_evaluations(recipe))):
        if count > MOST:
            raise _too_many(section, count, content, where=where)


def count_variants(recipe: Recipe) -> int:
    """Return the number of variants, the dense one included."""
    seeds: Seeds = defaultdict(Counter)
    for planned in recipe.demonstrations:
        seeds[planned.name][planned.seed] += 1
    n_of: Counter[str | None] = Counter()
    first_of = {entry.name: entry.of[0] for entry in recipe.variants if entry.combine is not None}
    for entry in recipe.variants:
        if entry.combine is None:
            n_of[entry.name] += _n_variants(entry, seeds)
    total = 1 + n_of.total()
    for entry in recipe.variants:
        if entry.combine is not None:
            total += n_of[_combined(entry.of[0], first_of)] * _n_forms(entry)
    return total


def _combined(name: str, first_of: Mapping[str | None, str]) -> str:
    """Return the entry that limits the number of combinations: combinations of combinations are followed."""
    visited: set[str] = set()
    while name in first_of and name not in visited:
        visited.add(name)
        name = first_of[name]
    return name


def _n_variants(entry: VariantConfig, seeds: Seeds) -> int:
    """Return the number of variants of an entry: one per set, or group of sets of one seed, that its names refer to."""
    n_variants = 1
    if entry.neurons is not None:
        n_variants = entry.neurons.n_points
    elif entry.reads_statistics and entry.over:
        n_variants = len({seed for name in entry.over for seed in seeds[name]})
    elif entry.reads_statistics and entry.contrast is not None:
        contrasts = seeds[entry.contrast]
        n_variants = sum(n * contrasts[seed] for seed, n in seeds[entry.demonstrations or ""].items())
    elif entry.reads_statistics:
        n_variants = seeds[entry.demonstrations or ""].total()
    return n_variants * _n_forms(entry)


def _n_forms(entry: VariantConfig) -> int:
    """Return in how many forms the same masks are planned: plain, reconstructed, rounded, and with fewer tokens."""
    return 1 + sum(getattr(entry, key) is not None for key in DERIVATIONS)


def count_evaluations(recipe: Recipe) -> int:
    """Return the number of evaluations of one variant."""
    return sum(
        prod(len(values) for key in _EVALUATED if (values := getattr(entry, key))) for entry in recipe.evaluations
    )


def _too_many(section: str, count: int, content: Entry, *, where: str) -> RecipeError:
    lists = [
        (length, f"{name}.{index}.{axis}")
        for name in dict.fromkeys((*MULTIPLIED, section))
        for index, entry in enumerate(_entries(content, name))
        for axis, length in (axes_of(entry) if name in MULTIPLIED else _lists_of(entry)).items()
    ]
    largest = sorted(lists, key=lambda axis: -axis[0])[:MOST_AXES]
    raise RecipeError(
        f"the recipe has too many {_WORDS.get(section, section)}",
        where=where,
        expected=f"at most {MOST:,}",
        got=f"{count:,}",
        longest_lists=", ".join(f"{name}: {length:,}" for length, name in largest),
        next="shorten the lists or split the recipe; --yes, or allow_many=True in Python, allows them",
    )


def _lists_of(entry: Entry) -> dict[str, int]:
    return {key: len(value) for key, value in entry.items() if key in _EVALUATED and isinstance(value, list)}


def _entries(content: Entry, section: str) -> Iterator[Entry]:
    """Yield the entries of a section that are mappings; others are refused later."""
    entries = content.get(section)
    yield from (entry for entry in entries if isinstance(entry, dict)) if isinstance(entries, list) else ()
