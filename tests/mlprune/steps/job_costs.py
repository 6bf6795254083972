"""Sizes of the tiny model, and the costs of the jobs of a plan, for the tests of the stages' cost models."""

from pathlib import Path
from typing import TypeVar

from mlprune.models.placement.memory_estimate import Footprint, footprint
from mlprune.planning import Plan
from mlprune.planning.resources.actor_memory import costs_of
from mlprune.steps.job import Job, JobCost

N_WEIGHTS = 3 * (4 * 16 * 16 + 2 * 16 * 64)
"""Prunable weights: 3 blocks of 16 features with a feed-forward layer of 64."""
INPUT_FEATURES = 3 * (3 * 16 + 64)
"""Features of the distinct inputs of all blocks."""
SET_TOKENS = 4 * 48
"""Tokens of a demonstration set of the tiny recipes: 4 demonstrations of 48."""

AnyJob = TypeVar("AnyJob", bound=Job)


def sizes_of(plan: Plan) -> Footprint:
    """The sizes of a plan's model."""
    return footprint(Path(plan.model.path), plan.model.dtype)


def costs_by_class(plan: Plan, job_class: type[AnyJob]) -> list[tuple[AnyJob, JobCost]]:
    """All jobs of a class with their costs; there is at least one."""
    jobs = [job for job in plan.jobs if isinstance(job, job_class)]
    assert jobs
    return list(zip(jobs, costs_of(plan, sizes_of(plan), jobs), strict=True))
