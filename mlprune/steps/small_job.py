"""Base of the jobs that need few resources."""

from dataclasses import dataclass

from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.job import RecordJob
from mlprune.steps.job_cost import JobCost, SetSizes


@dataclass(frozen=True)
class SmallJob(RecordJob):
    """Base of the jobs that make one record, run no model and need little memory."""

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of a small job."""
        return JobCost(self.step)
