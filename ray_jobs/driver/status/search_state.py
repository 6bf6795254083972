"""Progress of the searches of a run: the driver writes it to the log of the run, `mlprune status` reads it."""

import math
from dataclasses import asdict, dataclass

from mlprune.json_values import JsonObject, JsonValue


@dataclass(frozen=True)
class SearchState:
    """How far a search is."""

    name: str
    n_trials: int
    """Trials evaluated so far."""
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
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
