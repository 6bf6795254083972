"""Experts: what they and their routers do for each language, variants without some of them, and their overlap."""

from collections.abc import Iterator

from mlprune.capabilities.capability import Capability, Planned
from mlprune.capabilities.experts.expert_overlaps import expert_overlap_jobs
from mlprune.capabilities.experts.expert_statistics import observed_jobs
from mlprune.capabilities.experts.routing_entropy import routing_entropy_jobs
from mlprune.steps.job import Job


def _observing_jobs(planned: Planned) -> Iterator[Job]:
    yield from observed_jobs(planned)
    yield from routing_entropy_jobs(planned)


CAPABILITY = Capability("experts", observe=_observing_jobs, compare=expert_overlap_jobs)
