"""Progress, state and remaining time of the runs of a store, from their logs and claims. Only reads; needs no catalog.

If the process of a run is on this machine, it shows whether the run is alive. Otherwise the claims show it, which a
live run renews. Clocks of other machines are trusted.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from mlprune.errors import StoreError
from mlprune.processes.job_parts import JobParts
from mlprune.processes.process_identity import is_alive, is_gone
from mlprune.store.claims import STALE_AFTER_S
from mlprune.store.run_log_entries import ClaimEntry, RunEntries, RunLogReader, SearchState, folder_of, read_files
from mlprune.store.run_log_files import run_files
from mlprune.store.store import Store

SHORT_STEP = "compare"
"""Step with very short jobs; an estimate does not need a finished one."""
SHORT_JOB_S = 0.2
"""Seconds that a job of this step is expected to take until one has finished."""
NO_FLOPS: Mapping[str, float] = {}
State = Literal["running", "silent", "died", "done", "failed", "stopped"]
"""failed: ended, and some jobs failed. silent: no sign of life, and its process is not on this machine."""
ADVICE: Mapping[State, str] = {
    "silent": "if it died, rerun the same command to resume",
    "died": "rerun the same command to resume",
    "failed": "rerun the same command to retry the jobs that failed",
    "stopped": "rerun the same command to resume",
}
"""What the user can do about a state."""
_ID = re.compile(r"\b[0-9a-f]{20}\b")


@dataclass(frozen=True)
class Estimate:
    """How far a run is, by time."""

    share: float
    """From 0 to 1; 0 while the remaining time is unknown and no earlier run has finished parts."""
    remaining_s: float | None
    """None if it is unknown, and when no job remains."""


@dataclass(frozen=True)
class Progress:
    """What a run has done, from which its remaining time is estimated."""

    total: Mapping[str, float]
    """Step -> number of its jobs; `compare/answers` is a step with a kind of job, and its numbers may be units of
    work."""
    done: Mapping[str, float]
    """Step -> number of its finished jobs; steps without any may be missing, here and in `spent`."""
    spent: Mapping[str, float]
    """Step -> seconds of its finished jobs, summed over the workers."""
    elapsed_s: float
    """Seconds since the start of the run."""
    running: Collection[JobParts] = ()
    """How far the running jobs are. Parts that an earlier run has finished count as done."""
    flops: Mapping[str, float] = field(default_factory=dict)
    """Step -> planned floating-point operations of a job, from which the time of a step is estimated of which nothing
    is finished; see `_planned_means`."""
    n_workers: float | None = None
    """Workers that were busy at a time, on average; None to compute it from `spent` and `elapsed_s`."""

    @property
    def estimate(self) -> Estimate:
        """How far the run is."""
        left_s = self.remaining_s
        if left_s is None:
            is_done = bool(self.total) and not any(n > self.done.get(step, 0) for step, n in self.total.items())
            weights = {step: self.flops.get(step, 0.0) if self.flops else 1.0 for step in self.total}
            of_all = sum(n * weights[step] for step, n in self.total.items())
            of_found = sum(parts.found * weights.get(parts.step, 0.0) for parts in self.running)
            return Estimate(1.0 if is_done else of_found / of_all if of_all else 0.0, None)
        before_s = self.elapsed_s + sum(parts.found * (parts.whole_s or 0.0) for parts in self.running)
        return Estimate(before_s / max(before_s + left_s, 1e-9), left_s)

    @property
    def remaining_s(self) -> float | None:
        """Estimated remaining seconds.

        None until each step of long jobs has a finished job or part, or planned operations; and when no job remains.
        The time between jobs counts for steps of which jobs are finished; the start of the workers does not count for
        the others.
        """
        n_left = {step: n - self.done.get(step, 0) for step, n in self.total.items() if n > self.done.get(step, 0)}
        wholes_s: dict[str, list[float]] = {step: [] for step in n_left}
        rests_s: list[float] = []
        for parts in self.running:
            if parts.step in n_left and parts.whole_s is not None and parts.remaining_s is not None:
                wholes_s[parts.step].append(parts.whole_s)
                rests_s.append(parts.remaining_s)
        means_s = {step: SHORT_JOB_S for step in self.total if _is_short(step)}
        for step in self.total:
            if n := (self.done.get(step, 0) if step in self.spent else 0) + len(wholes_s.get(step, ())):
                means_s[step] = (self.spent.get(step, 0.0) + sum(wholes_s.get(step, ()))) / n
        if self.flops:
            means_s = {**_planned_means(means_s, self.flops, steps=n_left), **means_s}
        if not n_left or not means_s.keys() >= n_left.keys():
            return None
        spent_s = sum(self.spent.values()) + sum(parts.elapsed_s for parts in self.running)
        if not spent_s:
            return None
        rate = self.elapsed_s / spent_s if self.n_workers is None else 1 / self.n_workers
        first_parts = [parts for parts in self.running if parts.step in n_left and parts.whole_s is None]
        long_s = sum(rests_s) - sum(min(parts.elapsed_s, means_s[parts.step]) for parts in first_parts)
        short_s = 0.0
        for step, n in n_left.items():
            step_s = max(0, n - len(wholes_s[step])) * means_s[step]
            if self.done.get(step) or _is_short(step):
                short_s += step_s
            else:
                long_s += step_s
        return max([rate * short_s + min(1.0, rate) * long_s, *rests_s])


def _is_short(step: str) -> bool:
    return step.partition("/")[0] == SHORT_STEP


def _planned_means(
    means_s: Mapping[str, float], flops: Mapping[str, float], *, steps: Iterable[str]
) -> dict[str, float]:
    """Return step -> expected seconds of a job, from the steps whose seconds are known.

    Jobs with planned operations have the rate of those steps; jobs without any take as long as the others without any.
    """
    known = [step for step in means_s if flops.get(step)]
    small = [seconds for step, seconds in means_s.items() if not flops.get(step)]
    small_s = sum(small) / len(small) if small else SHORT_JOB_S
    seconds_per_flop = sum(means_s[step] for step in known) / sum(flops[step] for step in known) if known else None
    planned = {step: flops.get(step, 0.0) for step in steps}
    return {
        step: n * seconds_per_flop if n and seconds_per_flop else small_s
        for step, n in planned.items()
        if not n or seconds_per_flop
    }


@dataclass(frozen=True)
class StepStatus:
    """Progress of one step."""

    n_jobs: int
    n_done: int
    """Including jobs done by another run."""
    n_failed: int
    spent_s: float
    """Seconds of the jobs this run has done, summed over the workers."""

    @property
    def n_left(self) -> int:
        """Jobs that are neither done nor failed."""
        return max(0, self.n_jobs - self.n_done - self.n_failed)


@dataclass(frozen=True)
class RunStatus:
    """Progress and state of one run."""

    run_id: str
    recipe: str
    host: str
    address: str
    state: State
    started_at: datetime
    last_seen_at: datetime
    """Time of the last sign of life."""
    steps: Mapping[str, StepStatus]
    failures: tuple[str, ...]
    workers: Mapping[str, int]
    """Host and worker -> attempts it has finished."""
    working_on: tuple[str, ...] = ()
    """What the run does with each record it has claimed; of an earlier version, kind and id of the record."""
    n_retried: int = 0
    """Attempts that failed and were repeated."""
    searches: tuple[SearchState, ...] = ()
    running: tuple[JobParts, ...] = ()
    """How far the running jobs are; those that have not begun a part are missing."""
    flops: Mapping[str, float] = field(default_factory=dict)
    """Step -> planned floating-point operations of a job."""

    @property
    def advice(self) -> str:
        """What the user can do about the state; empty for nothing."""
        return ADVICE.get(self.state, "")

    @property
    def elapsed_s(self) -> float:
        """Time from the start to the last sign of life."""
        return max(0.0, (self.last_seen_at - self.started_at).total_seconds())

    @property
    def estimate(self) -> Estimate | None:
        """How far the run is, by time; None if it is not active."""
        if self.state != "running":
            return None
        n_jobs = {name: step.n_jobs for name, step in self.steps.items()}
        n_done = {name: step.n_done for name, step in self.steps.items()}
        spent_s = {name: step.spent_s for name, step in self.steps.items()}
        return Progress(n_jobs, n_done, spent_s, self.elapsed_s, self.running, self.flops).estimate

    @property
    def remaining_s(self) -> float | None:
        """Estimated remaining time; None if it is unknown or the run is not active."""
        return self.estimate.remaining_s if self.estimate else None


def format_duration(seconds: float) -> str:
    """Format seconds as 75 s, 12 min or 3.5 h."""
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def with_labels(text: str, label_of: Callable[[str], str | None]) -> str:
    """Return a text with labels instead of ids of variants; ids of other things are shortened to six characters.

    Args:
        label_of: returns the label of a variant's id; None for other ids.
    """
    return _ID.sub(lambda match: label_of(match[0]) or match[0][:6], text)


def _works(claims: Sequence[ClaimEntry]) -> tuple[str, ...]:
    return tuple(
        sorted(
            (claim.work or claim.record) + (f" ({claim.parts.describe()})" if claim.parts else "")
            for claim in claims
            if claim.is_of_work
        )
    )


def _running(claims: Sequence[ClaimEntry], now: datetime) -> Iterator[JobParts]:
    for claim in claims:
        if claim.parts is not None:
            yield claim.parts.later((now - claim.renewed_at).total_seconds() if claim.renewed_at else 0.0)


class StatusReader:
    """Status of the runs of a store, read again and again; files that never change are read only once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._logs = RunLogReader(store)

    def read(self, *, last: int = 3, now: datetime | None = None) -> list[RunStatus]:
        """Read the status of the newest runs and of every run with claims, newest first.

        Args:
            last: number of newest runs to read, with or without claims.
            now: the current time, for tests.
        Raises:
            StoreError: no run has written to the store.
        """
        files = run_files(self._store)
        paths = [*files.single, *files.packs]
        names = sorted({folder_of(path) for path in paths}, reverse=True)
        if not names:
            raise StoreError("no run has written to the store", store=self._store.uri)
        claims = _read_claims(self._store)
        shown = [name for n, name in enumerate(names) if n < last or _run_of(name) in claims]
        logs = self._logs.read(paths, {*shown, *map(_run_of, shown)})
        moment = now or datetime.now(UTC)
        statuses = (_status(name, logs, claims.get(_run_of(name), ()), now=moment) for name in shown)
        return [status for status in statuses if status is not None]


def _run_of(folder: str) -> str:
    """The run of a folder; a run that repairs damage has one folder per round."""
    return "-".join(folder.split("-")[:2])


def _read_claims(store: Store) -> dict[str, list[ClaimEntry]]:
    """Run -> its claims."""
    claims: dict[str, list[ClaimEntry]] = defaultdict(list)
    for _, contents in read_files(store, store.list("claims")):
        for path, value in contents:
            claim = ClaimEntry.parse(path, value)
            claims[claim.owner].append(claim)
    return claims


def _status(
    folder: str, logs: Mapping[str, RunEntries], claims: Sequence[ClaimEntry], *, now: datetime
) -> RunStatus | None:
    """Compute the status of a run; None if its start cannot be read."""
    log, run = logs[folder], logs[_run_of(folder)].run
    started = log.planned.planned_at or run.started_at
    if started is None:
        return None
    times = [started, log.last_attempt_at, *(claim.renewed_at for claim in claims)]
    last_seen = max(time for time in times if time)
    state = _state(log, claims, silent_s=(now - last_seen).total_seconds())
    if log.ended is not None and log.ended.ended_at:
        last_seen = log.ended.ended_at
    elif state == "running":
        last_seen = now
    return RunStatus(
        run_id=folder,
        recipe=run.name,
        host=run.host,
        address=run.address,
        state=state,
        started_at=started,
        last_seen_at=last_seen,
        steps=_steps(log),
        failures=tuple(f"{failure.step} {failure.record_id}: {failure.message}" for failure in log.failures),
        workers=dict(log.n_attempts),
        working_on=_works(claims) if state == "running" else (),
        n_retried=log.n_retried,
        searches=log.searches,
        running=tuple(_running(claims, now)) if state == "running" else (),
        flops=log.planned.flops,
    )


def _state(log: RunEntries, claims: Sequence[ClaimEntry], *, silent_s: float) -> State:
    if log.ended is not None:
        if log.ended.how == "done":
            return "done"
        return "failed" if log.ended.how == "failed" else "stopped"
    if is_gone(log.planned.process):
        return "died"
    stale_after_s = max([STALE_AFTER_S, *(claim.stale_after_s for claim in claims)])
    return "running" if is_alive(log.planned.process) or silent_s <= stale_after_s else "silent"


def _steps(log: RunEntries) -> dict[str, StepStatus]:
    n_failed = Counter(failure.step for failure in log.failures)
    n_jobs = log.planned.n_jobs or dict(log.n_done)  # a command without a recipe does not know the total
    return {step: StepStatus(n, log.n_done[step], n_failed[step], log.spent_s[step]) for step, n in n_jobs.items()}
