"""Registry of search methods."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mlprune.errors import RecipeError, unknown
from mlprune.methods import Method
from mlprune.search.method import SearchMethod, Settings
from mlprune.search.methods.exhaustive import Exhaustive
from mlprune.search.methods.random_points import RandomPoints
from mlprune.search.space import Space


@dataclass(frozen=True, kw_only=True)
class SearchMethodEntry(Method):
    """A search method and how it is built."""

    build: Callable[[Space, Settings], SearchMethod] = field(repr=False)
    uses_rungs: bool = False
    """Whether it evaluates trials on growing numbers of items."""
    asks_whole_rungs: bool = False
    """Whether a batch is a whole rung, so that the key `batch` has no effect."""


SEARCH_METHODS: Mapping[str, SearchMethodEntry] = {
    "exhaustive": SearchMethodEntry("every point, in lexicographic order", build=Exhaustive),
    "random": SearchMethodEntry("points drawn uniformly without replacement", build=RandomPoints),
}


def build_method(kind: str, space: Space, settings: Settings) -> SearchMethod:
    """Build a search method.

    Raises:
        RecipeError: the method is unknown; the budget does not allow one trial on all items; or the method needs a
            package that is not installed.
    """
    entry = SEARCH_METHODS.get(kind)
    if entry is None:
        raise unknown("method of a search", kind, SEARCH_METHODS, error=RecipeError)
    if settings.n_affordable((), settings.last_rung) == 0:
        expected = f"at least 1 variant, or {settings.rung_items[-1]} items x languages: one trial on all items"
        raise RecipeError("the budget does not allow one trial", expected=expected, got=settings.budget)
    return entry.build(space, settings)
