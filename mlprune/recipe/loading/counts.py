"""Limits on what the lists of a recipe multiply out to, counted from their lengths before anything is built.

A recipe with more variants, demonstration sets or evaluations than `MOST` is refused unless the user allows it. The
numbers are upper bounds: equal variants of two entries count twice.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from math import prod

from mlprune.errors import RecipeError
from mlprune.recipe.loading.combinations import Entry, axes_of
from mlprune.recipe.loading.sections import MULTIPLIED
from mlprune.recipe.models import Recipe
from mlprune.recipe.variants import VariantConfig

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
            total += n_of[_combined(entry.of[0], first_of)] * (2 if entry.bits else 1)
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
        lists = entry.neurons
        n_variants = len(lists.of) * len(lists.action) * len(lists.share) * len(lists.seed)
    elif entry.reads_statistics and entry.over:
        n_variants = len({seed for name in entry.over for seed in seeds[name]})
    elif entry.reads_statistics and entry.contrast is not None:
        contrasts = seeds[entry.contrast]
        n_variants = sum(n * contrasts[seed] for seed, n in seeds[entry.demonstrations or ""].items())
    elif entry.reads_statistics:
        n_variants = seeds[entry.demonstrations or ""].total()
    return n_variants * (2 if entry.bits else 1)


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
        next="shorten the lists or split the recipe; --yes, or allow_many=True in Python, allows so many",
    )


def _lists_of(entry: Entry) -> dict[str, int]:
    return {key: len(value) for key, value in entry.items() if key in _EVALUATED and isinstance(value, list)}


def _entries(content: Entry, section: str) -> Iterator[Entry]:
    """Yield the entries of a section that are mappings; others are refused later."""
    entries = content.get(section)
    yield from (entry for entry in entries if isinstance(entry, dict)) if isinstance(entries, list) else ()
