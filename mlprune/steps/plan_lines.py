"""What the jobs of one class say in a plan, besides their number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from mlprune.models.placement.memory_estimate import Footprint
from mlprune.store.store import Store

MAX_LISTED = 5
"""Most items that one line names."""

Place = Literal["steps", "passes", "texts", "model", "warnings"]
"""The part of a plan that a line follows: the numbers of jobs, costly passes, texts that do not fit, the model, or
the warnings about the recipe."""
JobT_co = TypeVar("JobT_co", covariant=True)
CostT_co = TypeVar("CostT_co", covariant=True)


class PlanLine(NamedTuple):
    """A line of a plan."""

    place: Place
    text: str


@dataclass(frozen=True)
class PlannedJobs(Generic[JobT_co, CostT_co]):
    """The jobs of one class in a plan."""

    jobs: Sequence[JobT_co]
    """All, done or not."""
    pending: Sequence[tuple[JobT_co, CostT_co]]
    """Those that are not done, with their costs."""
    model_id: str
    """The recipe's base model."""
    sizes: Footprint
    """Of the recipe's base model."""
    store: Store
