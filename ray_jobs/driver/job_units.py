"""Work of the jobs of a run, in the units in which `MeasuredWork` counts them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mlprune.processes.remaining_time import PlannedKind
from mlprune.steps.job import Job, RecordKey


@dataclass(frozen=True)
class JobUnits:
    """Units of jobs: of a mean job of the step if the step has planned operations, planned CPU seconds otherwise."""

    flops: Mapping[str, float] = field(default_factory=dict)
    """Step -> planned floating-point operations of a job, on average; steps without any are missing."""
    job_flops: Mapping[RecordKey, float] = field(default_factory=dict)
    """Last record that a job makes -> planned operations of the job."""

    def of(self, job: Job) -> float:
        """Return the units of a job; a mean job is assumed if its own operations are not planned."""
        if not (mean := self.flops.get(job.step)):
            return job.planned_cpu_s
        own = self.job_flops.get(job.makes[-1])
        return own / mean if own else 1.0

    def with_jobs(self, kinds: Mapping[str, PlannedKind], jobs: Iterable[Job]) -> dict[str, PlannedKind]:
        """Return kind -> planned jobs, with some more jobs."""
        more = dict(kinds)
        for job in jobs:
            more[kind_of(job)] = more.get(kind_of(job), PlannedKind()).more(self.of(job))
        return more


NO_UNITS = JobUnits()


def kind_of(job: Job) -> str:
    """Return the kind of a job: its step and the kind of the last record that it makes."""
    return f"{job.step}/{job.makes[-1][0]}"
