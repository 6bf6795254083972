"""Registry of search methods."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mlprune.capabilities.search.strategy.method import EvaluatedTrial, SearchMethod, Settings, winner
from mlprune.capabilities.search.strategy.methods.evolution import Evolution, EvolutionParameters
from mlprune.capabilities.search.strategy.methods.exhaustive import Exhaustive
from mlprune.capabilities.search.strategy.methods.halving import Halving, HalvingParameters
from mlprune.capabilities.search.strategy.methods.one_by_one import OneByOne, OneByOneParameters, last_kept
from mlprune.capabilities.search.strategy.methods.racing import Racing, RacingParameters
from mlprune.capabilities.search.strategy.methods.random_points import RandomPoints
from mlprune.capabilities.search.strategy.methods.tpe import Tpe, TpeParameters
from mlprune.capabilities.search.strategy.space import Space
from mlprune.errors import RecipeError, unknown
from mlprune.methods import Method


@dataclass(frozen=True, kw_only=True)
class SearchMethodEntry(Method):
    """A search method and how it is built."""

    build: Callable[[Space, Settings], SearchMethod] = field(repr=False)
    uses_rungs: bool = False
    """Whether it evaluates trials on growing numbers of items."""
    asks_whole_rungs: bool = False
    """Whether a batch is a whole rung, so that the key `batch` has no effect."""
    removes_units: bool = False
    """Whether it removes units of the model in rounds. A batch is a round, and its trials are compared with each
    other."""
    winner: Callable[[Sequence[EvaluatedTrial]], EvaluatedTrial | None] = field(default=winner, repr=False)
    """Chooses among all trials; the search has a winner if the chosen one meets the constraints."""


SEARCH_METHODS: Mapping[str, SearchMethodEntry] = {
    "exhaustive": SearchMethodEntry("every point, in lexicographic order", build=Exhaustive),
    "random": SearchMethodEntry("points drawn uniformly without replacement", build=RandomPoints),
    "halving": SearchMethodEntry(
        "many candidates on few items, and the best ones on more and more",
        citation="K. Jamieson, A. Talwalkar, *Non-stochastic Best Arm Identification and Hyperparameter Optimization*, "
        "arXiv:1502.07943",
        parameters=HalvingParameters,
        build=Halving,
        uses_rungs=True,
        asks_whole_rungs=True,
    ),
    "racing": SearchMethodEntry(
        "candidates on growing numbers of items until a test says that they are worse than the best one",
        citation="O. Maron, A. Moore, *Hoeffding Races: Accelerating Model Selection Search for Classification and "
        "Function Approximation*, NIPS 1993",
        parameters=RacingParameters,
        build=Racing,
        uses_rungs=True,
        asks_whole_rungs=True,
    ),
    "evolution": SearchMethodEntry(
        "level switches and other changes of the best point so far",
        citation="O. Sieberling, D. Kuznedelev, E. Kurtic, D. Alistarh, *EvoPress: Accurate Dynamic Model Compression "
        "via Evolutionary Search*, arXiv:2410.14649",
        parameters=EvolutionParameters,
        build=Evolution,
        uses_rungs=True,
    ),
    "tpe": SearchMethodEntry(
        "points that are likely to be among the best ones, by Optuna's tree-structured Parzen estimator",
        citation="T. Akiba et al., *Optuna: A Next-generation Hyperparameter Optimization Framework*, arXiv:1907.10902",
        parameters=TpeParameters,
        build=Tpe,
    ),
    "one_by_one": SearchMethodEntry(
        "removal of one unit after the other, each time the one that costs least",
        citation="F. Sandri, E. Cunegatti, G. Iacca, *2SSP: A Two-Stage Framework for Structured Pruning of LLMs*, "
        "arXiv:2501.17771",
        parameters=OneByOneParameters,
        build=OneByOne,
        removes_units=True,
        winner=last_kept,
    ),
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
        raise RecipeError("the budget does not allow one trial", expected=expected, got=str(settings.budget))
    return entry.build(space, settings)
