"""Parts of a plan's jobs: those of some variants, and those that its parts will add."""

from collections.abc import Iterable, Sequence

from mlprune.planning import Plan
from mlprune.steps.job import Job, RecordKey


def jobs_of_variants(jobs: Sequence[Job], variant_ids: Iterable[str]) -> list[Job]:
    """Return the jobs that make some variants and what they need, in their order."""
    makers = {key: job for job in jobs for key in job.makes}
    needed: set[RecordKey] = set()
    keys: list[RecordKey] = [("variants", variant_id) for variant_id in variant_ids]
    while keys:
        key = keys.pop()
        if key in makers and key not in needed:
            needed.update(makers[key].makes)
            keys += makers[key].needs
    return [job for job in jobs if not needed.isdisjoint(job.makes)]


def expected_jobs(plan: Plan, pending: Sequence[Job]) -> list[Job]:
    """Return jobs like those that waiting parts will add: the plan has enough memory for them from the start.

    These are the jobs of the models that were evaluated already, if nothing pending is evaluated, and those that differ
    from them.
    """
    waiting = [part for part in plan.parts if part.is_waiting]
    if not waiting:
        return []
    evaluated = () if any(job.needs_chain for job in pending) else plan.jobs
    later = [job for part in waiting for job in part.expected_jobs()]
    return [job for job in (*evaluated, *later) if job.needs_chain]
