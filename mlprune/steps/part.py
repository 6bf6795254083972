"""Parts of a plan whose jobs follow from results, such as the batches of a search."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.job import Job, SetSizes
from mlprune.steps.questions.asked import PlannedQuestion
from mlprune.steps.trials_cost import Seconds
from mlprune.store.run_log_entries import SearchState
from mlprune.store.store import Store


class Additions(Protocol):
    """The jobs that parts add to a plan."""

    store: Store
    """Has the results."""

    def is_known(self, variant_id: str) -> bool:
        """Whether a variant is planned or in the store."""

    def add(self, jobs: Iterable[Job]) -> None:
        """Add jobs; what the plan makes already is not made again."""


@dataclass(frozen=True)
class Report:
    """What is compared once a part has its results."""

    jobs: tuple[Job, ...]
    questions: tuple[PlannedQuestion, ...]
    """The declared ones, then those that are asked of every task."""
    names: tuple[tuple[str, str], ...]
    """(name, variant) of the variants with names."""


class Part(Protocol):
    """One part. It is a value: with the same results it adds the same jobs, except that variants in the store are not
    made again."""

    @property
    def names(self) -> Iterable[tuple[str, str, str]]:
        """Kind, name and id of what it gives a name to."""

    def extended(self, additions: Additions) -> "Part":
        """Add all jobs that the results in the store allow, and return the part with them."""

    @property
    def reports(self) -> Sequence[Report]:
        """The reports that are planned; their questions have to be recorded before their jobs run."""

    @property
    def variant_ids(self) -> Iterable[str]:
        """Ids of all variants that it planned."""

    @property
    def is_waiting(self) -> bool:
        """Whether it adds more jobs when results are there."""

    def expected_jobs(self) -> list[Job]:
        """Return jobs like those that it will add, which differ from the evaluations in the plan."""

    def plan_lines(self, sizes: Footprint, sets: SetSizes, *, seconds: Seconds) -> list[str]:
        """Describe what it needs from its first job to its last one.

        Args:
            sizes: of the recipe's model.
        """

    @property
    def states(self) -> tuple[SearchState, ...]:
        """How far it is, for `mlprune status`."""

    def warnings(self) -> Iterator[str]:
        """Yield what is not as it was asked for."""
