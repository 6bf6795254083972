"""Progress of the searches of a run: the driver writes it to the log of the run, `mlprune status` reads it."""

from dataclasses import asdict, dataclass

from mlprune.json_values import JsonObject, JsonValue
from mlprune.search.method import ItemBudget
from mlprune.search.trials import winner
from mlprune.steps.search.batches import PlannedSearch
from mlprune.steps.search.forecast import forecast_batches
from mlprune.steps.search.history import SIGN
from mlprune.steps.search.spec import SearchSpec


@dataclass(frozen=True)
class SearchLimits:
    """Most trials and most items x languages of a search."""

    n_trials: int
    n_items: int

    @classmethod
    def of(cls, spec: SearchSpec) -> "SearchLimits":
        """Compute them from the batches that are expected, or from a budget of items."""
        batches = forecast_batches(spec)
        n_items = sum(batch.n_trials * spec.settings.rung_items[batch.rung] for batch in batches)
        if isinstance(spec.budget, ItemBudget):
            n_items = spec.budget.n_items
        return cls(sum(batch.n_trials for batch in batches), n_items)


@dataclass(frozen=True)
class SearchState:
    """How far a search is."""

    name: str
    n_trials: int
    """Trials told so far."""
    most_trials: int
    n_items: int
    """Items x languages scored for them."""
    most_items: int
    rung: int
    """Highest rung reached, from 1; 0 before the first trial."""
    n_rungs: int
    item_limit: int | None
    """Items per language of that rung; None for all."""
    best: int | None
    """Number of the best trial of that rung."""
    objective: float | None
    """Its objective, in the direction of the recipe."""
    is_feasible: bool
    """Whether it meets all constraints."""
    is_finished: bool

    @classmethod
    def of(cls, search: PlannedSearch, limits: SearchLimits) -> "SearchState":
        """Describe a search by the trials that it was told."""
        spec, best = search.spec, winner(search.history)
        return cls(
            name=spec.name,
            n_trials=len(search.history),
            most_trials=limits.n_trials,
            n_items=sum(trial.n_new_items for trial in search.history),
            most_items=limits.n_items,
            rung=0 if best is None else best.rung + 1,
            n_rungs=len(spec.rungs),
            item_limit=None if best is None else spec.rungs[best.rung],
            best=None if best is None else best.number,
            objective=None if best is None else SIGN[spec.direction] * best.objective,
            is_feasible=best is not None and best.is_feasible,
            is_finished=search.is_finished,
        )

    @classmethod
    def parse(cls, value: JsonObject) -> "SearchState":
        """Parse an entry of `searches.json`; missing or malformed fields get default values."""
        return cls(
            name=str(value.get("name") or ""),
            **{name: _integer(value.get(name)) or 0 for name in ("n_trials", "most_trials", "n_items", "most_items")},
            rung=_integer(value.get("rung")) or 0,
            n_rungs=_integer(value.get("n_rungs")) or 0,
            item_limit=_integer(value.get("item_limit")),
            best=_integer(value.get("best")),
            objective=_number(value.get("objective")),
            is_feasible=value.get("is_feasible") is True,
            is_finished=value.get("is_finished") is True,
        )

    def to_json(self) -> JsonObject:
        """Return the entry of `searches.json`; an infinite objective is null."""
        return {**asdict(self), "objective": _number(self.objective)}


def _integer(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: JsonValue) -> float | None:
    is_finite = isinstance(value, int | float) and abs(value) < float("inf")
    return float(value) if is_finite and isinstance(value, int | float) else None
