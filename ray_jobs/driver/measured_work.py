"""What a run has done and what it has left, by kind of job, and the remaining time at the rates of this run."""

import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mlprune.processes.job_parts import RunningParts
from mlprune.steps.job import Job, RecordKey
from mlprune.store.run_status import NO_FLOPS, Estimate, Progress

RECENT = 12
"""Jobs of a kind from which its rate is measured: the latest ones, because a machine may become busy."""
NO_JOB_FLOPS: Mapping[RecordKey, float] = {}


class MeasuredWork:
    """Counts the jobs of a run by kind: the step and the kind of record that they make.

    A job counts as much as its planned operations, in units of a mean job of its kind; without any it counts 1.

    Args:
        jobs: the jobs of the run.
        flops: step -> planned floating-point operations of a job.
        job_flops: last record that a job makes -> planned operations of the job.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        flops: Mapping[str, float] = NO_FLOPS,
        job_flops: Mapping[RecordKey, float] = NO_JOB_FLOPS,
    ) -> None:
        self._flops, self._job_flops = flops, job_flops
        self._total: dict[str, float] = defaultdict(float)
        self._done: dict[str, float] = defaultdict(float)
        self._spent_s = 0.0
        self._recent: dict[str, deque[tuple[float, float]]] = defaultdict(lambda: deque(maxlen=RECENT))
        """Kind -> (units, seconds) of the latest jobs."""
        self._began: float | None = None
        """When the first job began; the start of the workers is before it."""
        self.add(jobs)

    def add(self, jobs: Sequence[Job]) -> None:
        """Add jobs of the run."""
        for job in jobs:
            self._total[_kind_of(job)] += self._units(job)

    def done(self, job: Job, elapsed_s: float, *, now: float | None = None) -> None:
        """Count a finished job.

        Args:
            elapsed_s: seconds that it took; 0 if another run did it.
            now: seconds of the clock `time.monotonic`; None for the current time.
        """
        kind, units = _kind_of(job), self._units(job)
        self._done[kind] += units
        if elapsed_s > 0:
            began = (time.monotonic() if now is None else now) - elapsed_s
            self._began = began if self._began is None else min(self._began, began)
            self._spent_s += elapsed_s
            self._recent[kind].append((units, elapsed_s))

    def estimate(self, running: RunningParts, *, elapsed_s: float, now: float | None = None) -> Estimate:
        """Estimate how far the run is.

        Args:
            running: how far the running jobs are.
            elapsed_s: seconds since the start of the run.
            now: as in `done`.
        """
        moment = time.monotonic() if now is None else now
        parts = [replace(one, step=f"{one.step}/{key[0]}") for key, one in dict(running).items()]
        known = {kind: jobs for kind, jobs in self._recent.items() if jobs}
        means_s = {kind: sum(s for _, s in jobs) / sum(n for n, _ in jobs) for kind, jobs in known.items()}
        spent = {kind: means_s[kind] * done for kind, done in self._done.items() if kind in means_s}
        flops = {kind: self._flops[step] for kind in self._total if (step := kind.partition("/")[0]) in self._flops}
        busy_s = max((one.elapsed_s for one in parts), default=0.0)
        began = moment - busy_s if self._began is None else min(self._began, moment - busy_s)
        measured_s = moment - began
        n_workers = (self._spent_s + sum(one.elapsed_s for one in parts)) / measured_s if measured_s > 0 else 0.0
        total, done = dict(self._total), dict(self._done)
        return Progress(total, done, spent, elapsed_s, parts, flops, n_workers=n_workers or None).estimate

    def _units(self, job: Job) -> float:
        mean, own = self._flops.get(job.step), self._job_flops.get(job.makes[-1])
        return own / mean if mean and own else 1.0


def _kind_of(job: Job) -> str:
    return f"{job.step}/{job.makes[-1][0]}"
