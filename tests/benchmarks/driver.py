"""Measure the driver: CPU time per job of jobs that do nothing, with the real run log, claims and store.

python tests/benchmarks/driver.py --jobs 1000 10000 100000        one line of JSON for each number of jobs

The jobs depend on each other like those of a sweep: sets, statistics, orderings, variants, evaluations in six
languages, and comparisons with the dense model. Their workers finish one job at a time and write nothing, so all that
is measured is the process of the driver, its thread for claims and its folds of the catalog included.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from time import process_time
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).parents[2]))

from mlprune.processes.job_parts import RunningParts
from mlprune.steps.job import Job, RecordKey
from mlprune.store.claims import Claims
from mlprune.store.store import Store
from ray_jobs.driver.driver import Driver
from ray_jobs.driver.progress import Progress
from ray_jobs.driver.run_log import RunLog, begin_run
from ray_jobs.process.environment import this_environment
from ray_jobs.workers.pool_interface import PoolChange
from ray_jobs.workers.worker import Outcome
from tests.stub_jobs import StubJob

LANGUAGES = ("en", "fr", "es", "sw", "de", "zh")
N_WORKERS = 16
VARIANTS_PER_ORDERING, ORDERINGS_PER_SET = 20, 2


@dataclass(frozen=True)
class EmptyJob(StubJob):
    """A job that does nothing. It counts how often anything asks what it makes and needs."""

    n_asked: ClassVar[Counter[str]] = Counter()
    kind: str
    name: str
    after: tuple[RecordKey, ...] = ()

    @property
    def step(self) -> str:  # type: ignore[override] - the steps of a sweep
        """The kind of record that it makes, in place of a name."""
        return self.kind

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        self.n_asked["makes"] += 1
        return ((self.kind, self.name),)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        self.n_asked["needs"] += 1
        return self.after


def sweep_jobs(n_jobs: int) -> list[Job]:
    """Jobs with the dependencies of a sweep, stage by stage, as in a plan; the last ones rank the variants."""
    n_variants = max(1, n_jobs // (1 + 2 * len(LANGUAGES)))
    ranks = (EmptyJob("rank_consistency", f"{n}", (("evaluations", f"0-{LANGUAGES[0]}"),)) for n in range(n_jobs))
    stages = (_sets(n_variants), _variants(n_variants), _dense(), _evaluations(n_variants), _comparisons(n_variants))
    return list(islice(chain(*stages, ranks), n_jobs))


def _sets(n_variants: int) -> Iterator[EmptyJob]:
    n_orderings = -(-n_variants // VARIANTS_PER_ORDERING)
    n_sets = -(-n_orderings // ORDERINGS_PER_SET)
    yield from (EmptyJob("demonstration_sets", f"{n}") for n in range(n_sets))
    yield from (EmptyJob("statistics", f"{n}", (("demonstration_sets", f"{n}"),)) for n in range(n_sets))
    for n in range(n_orderings):
        yield EmptyJob("masks", f"{n}", (("statistics", f"{n // ORDERINGS_PER_SET}"),))


def _variants(n_variants: int) -> Iterator[EmptyJob]:
    for n in range(n_variants):
        yield EmptyJob("variants", f"{n}", (("masks", f"{n // VARIANTS_PER_ORDERING}"),))


def _dense() -> Iterator[EmptyJob]:
    yield EmptyJob("variants", "dense")
    yield from (EmptyJob("evaluations", f"dense-{name}", (("variants", "dense"),)) for name in LANGUAGES)


def _evaluations(n_variants: int) -> Iterator[EmptyJob]:
    for n in range(n_variants):
        yield from (EmptyJob("evaluations", f"{n}-{name}", (("variants", f"{n}"),)) for name in LANGUAGES)


def _comparisons(n_variants: int) -> Iterator[EmptyJob]:
    for n in range(n_variants):
        for name in LANGUAGES:
            yield EmptyJob(
                "comparisons", f"{n}-{name}", tuple(("evaluations", f"{one}-{name}") for one in (n, "dense"))
            )


class IdleWorkers:
    """Workers that end their jobs in order, one at each wait, without doing them."""

    problem: str | None = None

    def __init__(self) -> None:
        self._running: deque[Job] = deque()
        self._environment = this_environment()

    def free(self) -> int:
        """See `Workers`."""
        return N_WORKERS - len(self._running)

    def size(self, job: Job) -> int:
        """See `Workers`."""
        return 1

    def spare(self, n_jobs: int) -> int:
        """See `Workers`."""
        return self.free() - n_jobs

    def submit(self, job: Job, *, n_helpers: int = 0) -> None:
        """See `Workers`."""
        self._running.append(job)

    def share(self, jobs: Iterable[Job]) -> None:
        """See `Workers`."""

    def recall(self, n_jobs: int) -> None:
        """See `Workers`."""

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        """See `Workers`."""
        job = self._running.popleft()
        started_at = "2026-01-01T00:00:00.000+00:00"
        makes = job.makes[-1]
        outcome = Outcome(makes, job.step, "host", "worker-0", started_at, 0.5, 1.0, environment=self._environment)
        return [(job, outcome)]

    def take_changes(self) -> list[PoolChange]:
        """See `Workers`."""
        return []

    @property
    def running_parts(self) -> RunningParts:
        """See `Workers`."""
        return {}

    def close(self) -> None:
        """See `Workers`."""


def drive(store: Store, n_jobs: int) -> dict[str, Any]:
    """Run jobs that do nothing; return the CPU time of this process for each of them."""
    jobs = sweep_jobs(n_jobs)
    started = process_time()
    drive_jobs(store, jobs)
    return {"jobs": n_jobs, "ms_per_job": round(1000 * (process_time() - started) / n_jobs, 3)}


def drive_jobs(store: Store, jobs: Sequence[Job]) -> None:
    """Run jobs with workers that do not do them."""
    run_id = begin_run(store, "run")
    with Claims(store, run_id) as claims, Progress(jobs) as progress:
        driver = Driver(store, RunLog(store, run_id), workers=IdleWorkers(), progress=progress, claims=claims)
        result = driver.run(jobs, present=set())
    if result.n_done != len(jobs):
        raise SystemExit(f"{result.n_done} of {len(jobs)} jobs were done")


def main() -> None:
    """Measure and print one line of JSON for each number of jobs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="numbers of jobs")
    for n_jobs in parser.parse_args().jobs:
        with tempfile.TemporaryDirectory(prefix="mlprune-driver-") as folder:
            print(json.dumps(drive(Store(Path(folder) / "store"), n_jobs)), flush=True)


if __name__ == "__main__":
    main()
