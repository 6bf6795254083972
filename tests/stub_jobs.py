"""A job that does nothing, to derive the jobs of tests from."""

from dataclasses import dataclass
from typing import ClassVar

from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.job import ChainLoader, Job, JobCost, RecordKey, SetSizes
from mlprune.store.store import Store


@dataclass(frozen=True)
class StubJob(Job):
    """Makes one record, needs none and costs what a small job costs."""

    step: ClassVar[str] = "prune"

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        return (("variants", "stub"),)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        return ()

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        return JobCost(self.step)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Do nothing."""
