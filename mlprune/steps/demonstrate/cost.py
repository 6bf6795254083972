"""Sizes of the demonstration sets of a plan, which the costs of other jobs depend on."""

from collections.abc import Iterable

from mlprune.steps.demonstrate.jobs import DemonstrateJob, MixJob
from mlprune.steps.job import Job
from mlprune.steps.job_cost import SetSize


def set_sizes(jobs: Iterable[Job]) -> dict[str, SetSize]:
    """Upper bounds on the sizes of all demonstration sets that some jobs make, parts before the sets that mix them."""
    sizes: dict[str, SetSize] = {}
    max_tokens: dict[str, int] = {}
    for job in jobs:
        if isinstance(job, DemonstrateJob):
            max_tokens[job.identity.id] = job.spec.max_tokens
            sizes[job.identity.id] = SetSize(job.spec.samples * job.spec.max_tokens, job.spec.samples)
        elif isinstance(job, MixJob):
            max_tokens[job.identity.id] = job.spec.max_tokens
            n_tokens = sum(n * max_tokens[part] for n, part in zip(job.taken, job.parts, strict=True))
            sizes[job.identity.id] = SetSize(n_tokens, sum(job.taken))
    return sizes
