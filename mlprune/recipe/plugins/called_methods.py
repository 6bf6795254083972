"""Methods that workers call for a recipe: those of its variants, of the trials of its searches, and of its probes."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mlprune.methods.plugins import PluginKind

if TYPE_CHECKING:
    from mlprune.recipe.models import Recipe

KINDS: Mapping[str, PluginKind] = {"score": "score", "structure": "structure", "refine": "refiner"}
"""Key of an entry of `variants` -> kind of the method. A schedule is called by the driver, so workers need none."""


def called_methods(recipe: "Recipe") -> Iterator[tuple[PluginKind, str]]:
    """Yield kind and name of the methods that a recipe names."""
    for entry in recipe.variants:
        yield from _of_keys({"score": entry.score, "structure": entry.group, "refine": entry.refine})
    for search in recipe.searches:
        yield from _of_keys(search.base)
        for key, values in search.space.items():
            for value in values:
                yield from _of_keys({key: value})
    for analysis in recipe.sensitivity:
        yield from _of_keys(analysis.base)


def _of_keys(keys: Mapping[str, object]) -> Iterator[tuple[PluginKind, str]]:
    for key, kind in KINDS.items():
        value = keys.get(key)
        if isinstance(value, str):
            yield kind, value
