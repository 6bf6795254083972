"""Random runs of the driver on a clock that only the run moves, and the plain rule for the order of submission."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from mlprune.steps.job import Job, RecordKey
from mlprune.store.store import Store
from ray_jobs.driver import driver as driver_module
from ray_jobs.driver.driver import Driver
from ray_jobs.driver.progress import Progress
from ray_jobs.driver.run_log import RunLog
from ray_jobs.driver.run_state import JobQueue, QueuedJob, RunResult
from ray_jobs.workers.recovery import Failure
from ray_jobs.workers.worker import Outcome
from tests.ray_jobs.driver.scripted_workers import BROKEN, LOST, OUT_OF_MEMORY, BatchedJob, NamedJob, ScriptedWorkers


class ScanningQueue(JobQueue):
    """The rule as plainly as possible: a pass looks at every waiting job, in order, and asks for each of its needs."""

    def __init__(
        self, jobs: Iterable[Job] = (), *, present: Iterable[RecordKey] = (), size_of: Callable[[Job], int]
    ) -> None:
        self._waiting: list[Job] = []
        self._until: dict[RecordKey, float] = {}
        self._index = 0
        self._now = 0.0
        super().__init__(jobs, present=present, size_of=size_of)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, jobs: Iterable[Job]) -> None:
        self._waiting.extend(jobs)

    def add_first(self, job: Job) -> None:
        self._waiting.insert(0, job)

    def mark_present(self, keys: Iterable[RecordKey]) -> None:
        self.present.update(keys)

    def begin_pass(self, *, now: float) -> None:
        self._index, self._now = 0, now

    def _is_ready(self, job: Job) -> bool:
        return all(key in self.present for key in job.needs)

    def take(self, capacity: int) -> QueuedJob | None:
        while self._index < len(self._waiting):
            job = self._waiting[self._index]
            is_due = self._until.get(job.makes[-1], 0.0) <= self._now
            if self._size_of(job) <= capacity and self._is_ready(job) and is_due:
                self._until.pop(job.makes[-1], None)
                return QueuedJob(self._index, self._waiting.pop(self._index))
            self._index += 1
        return None

    def set_aside(self, queued: QueuedJob, *, until: float) -> None:
        self._waiting.insert(queued.position, queued.job)
        self._until[queued.job.makes[-1]] = until
        self._index = queued.position + 1

    @property
    def aside(self) -> list[Job]:
        return [job for job in self._waiting if job.makes[-1] in self._until]

    @property
    def n_ready(self) -> int:
        return sum(self._is_ready(job) and job.makes[-1] not in self._until for job in self._waiting)


@dataclass
class Clock:
    """The time of a simulated run, in place of the module `time` of the driver."""

    now: float = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class OtherRun:
    """The claims of this run, where another run holds some records for a while, and makes or abandons them."""

    clock: Clock
    held_until: dict[RecordKey, float]
    makes: frozenset[RecordKey]
    may_have_peers: bool = True
    events: list[tuple[str, str]] = field(default_factory=list)

    def take(self, key: RecordKey, *, work: str = "") -> bool:
        is_free = self.clock.now >= self.held_until.get(key, 0.0)
        self.events.append((f"take {is_free}", key[1]))
        return is_free

    def release(self, key: RecordKey) -> None:
        self.events.append(("release", key[1]))

    def owner_of(self, key: RecordKey) -> str:
        return f"the run that has {key[1]}"

    def has_made(self, kind: str, record_id: str) -> bool:
        key = (kind, record_id)
        return key in self.makes and self.clock.now >= self.held_until[key]


class SimulatedWorkers(ScriptedWorkers):
    """Replicas of two shards whose jobs take some time, and that pause now and then because their devices are busy."""

    def __init__(self, generator: random.Random, clock: Clock, decide: Callable[[Job, int], Failure | None]) -> None:
        super().__init__(decide, capacity=generator.choice([1, 2, 2, 4, 6]))
        self._generator, self._clock, self._n_shards = generator, clock, min(2, self._capacity)
        self.events: list[tuple[str, str]] = []

    def size(self, job: Job) -> int:
        return self._n_shards if job.needs_chain else 1

    def free(self) -> int:
        n_free = self._capacity - sum(map(self.size, self._running))
        is_paused = bool(self._running) and self._generator.random() < 0.2
        return 0 if is_paused else n_free

    def spare(self, n_jobs: int) -> int:
        return 0

    def submit(self, job: Job, *, n_helpers: int = 0) -> None:
        self.events.append((f"submit {self.size(job)}", job.makes[-1][1]))
        super().submit(job, n_helpers=n_helpers)

    def recall(self, n_jobs: int) -> None:
        self.events.append(("recall", str(n_jobs)))

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        elapsed_s = self._generator.choice([0.0, 0.3, 0.7, 2.0])
        self._clock.sleep(elapsed_s if timeout_s is None else min(elapsed_s, timeout_s))
        if timeout_s is not None and elapsed_s > timeout_s:
            return []
        self._running.insert(0, self._running.pop(self._generator.randrange(len(self._running))))
        return super().wait(timeout_s)


@dataclass(frozen=True)
class SimulatedRun:
    """Everything that happened in a run, in order, and how it ended."""

    events: list[tuple[str, str]]
    claims: list[tuple[str, str]]
    result: RunResult


def simulate(seed: int, store: Store, queue: type[JobQueue], monkeypatch: pytest.MonkeyPatch) -> SimulatedRun:
    """Run random jobs: they fail, are tried again, follow from others or are claimed by another run.

    Args:
        queue: decides the order of submission.
    """
    generator, clock = random.Random(seed), Clock()
    jobs = _random_jobs(generator, generator.randrange(1, 40), prefix="job")
    added = {
        job.makes[-1]: _random_jobs(generator, generator.randrange(1, 6), prefix=f"after {job.name}", after=(job.name,))
        for job in jobs
        if generator.random() < 0.15
    }
    every = [*jobs, *(job for group in added.values() for job in group)]
    held = {job.makes[-1]: clock.now + generator.uniform(0, 12) for job in every if generator.random() < 0.2}
    other = OtherRun(clock, held, frozenset(key for key in held if generator.random() < 0.6))
    failures = {job.name: _failures(generator) for job in every}

    def decide(job: Job, attempt: int) -> Failure | None:
        planned = failures[job.makes[-1][1]]
        return planned[attempt - 1] if attempt <= len(planned) else None

    class GrowingPlan(driver_module.FixedPlan):
        def next_jobs(self, job: Job) -> Sequence[Job]:
            return added.get(job.makes[-1], ())

    monkeypatch.setattr(driver_module, "JobQueue", queue)
    monkeypatch.setattr(driver_module, "time", clock)
    monkeypatch.setattr(store, "has_record", other.has_made)
    workers = SimulatedWorkers(generator, clock, decide)
    present = {("masks", f"job {n}") for n in range(40) if generator.random() < 0.1} - {job.makes[-1] for job in jobs}
    with Progress(jobs) as progress:
        driver = Driver(
            store,
            RunLog(store, "run"),
            workers=workers,
            progress=progress,
            claims=other if generator.random() < 0.7 else None,  # type: ignore[arg-type] - like claims
            plan=GrowingPlan(),
        )
        result = driver.run(jobs, present=present)
    return SimulatedRun(workers.events, other.events, result)


def _random_jobs(generator: random.Random, n: int, *, prefix: str, after: tuple[str, ...] = ()) -> Sequence[NamedJob]:
    """Jobs in a random order of which each needs some others; a few need a record that no job makes."""
    names = [f"{prefix} {number}" for number in range(n)]
    jobs: list[NamedJob] = []
    for number, name in enumerate(names):
        needs = (*generator.sample(names[:number], min(number, generator.choice([0, 1, 1, 2, 5]))), *after)
        needs += ("what no job makes",) if generator.random() < 0.03 else ()
        needs += needs[:1] if generator.random() < 0.1 else ()
        kind = generator.choice([NamedJob, BatchedJob])
        jobs.append(replace(kind(name), after=needs))
    generator.shuffle(jobs)
    return jobs


def _failures(generator: random.Random) -> list[Failure]:
    return [generator.choice([BROKEN, LOST, LOST, OUT_OF_MEMORY]) for _ in range(generator.choice([0, 0, 0, 1, 2, 4]))]
