"""Metrics of a run, with a fake Ray that keeps the values."""

from collections import defaultdict

import pytest
from ray.util import metrics

from mlprune.steps.job import Job
from ray_jobs.driver.run_state import RunState
from ray_jobs.workers.recovery import Failure
from ray_jobs.workers.run_metrics import METRICS, RUN_TAGS, RayMetrics
from tests.ray_jobs.driver.scripted_workers import LOST, OUT_OF_MEMORY, BatchedJob, NamedJob, outcome_of

JOB = BatchedJob("a")
MADE: dict[str, "Recorded"] = {}


class Recorded:
    """A metric that adds up, or keeps, its values by tags."""

    def __init__(self, name: str, *, description: str, tag_keys: tuple[str, ...]) -> None:
        assert description
        self.tag_keys = tag_keys
        self.values: dict[tuple[str, ...], float] = defaultdict(float)
        MADE[name] = self

    def set_default_tags(self, tags: dict[str, str]) -> None:
        assert tags == {"run": "r1", "recipe": "small"}

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0
        assert {*RUN_TAGS, *tags} == {*self.tag_keys}
        self.values[tuple(tags.values())] += value

    def set(self, value: float) -> None:
        self.values[()] = value


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> RayMetrics:
    MADE.clear()
    for kind in ("Counter", "Gauge"):
        monkeypatch.setattr(metrics, kind, Recorded)
    return RayMetrics("r1", "small", n_workers=2)


def values() -> dict[str, dict[tuple[str, ...], float]]:
    return {name: dict(metric.values) for name, metric in MADE.items() if metric.values}


def count(counters: RayMetrics, job: Job, failure: Failure | None, *, status: str) -> None:
    """Count an attempt, with the retry that a run decides on."""
    retry = None if failure is None else RunState().next_attempt(job, failure)
    counters.count_attempt(job, outcome_of(job, failure), status=status, retry=retry)


def test_attempts_are_counted_by_step_with_their_time_and_retries(recorded: RayMetrics) -> None:
    assert MADE.keys() == METRICS.keys()
    for failure, status in ((LOST, "lost"), (OUT_OF_MEMORY, "lost"), (None, "done")):
        count(recorded, JOB, failure, status=status)
    assert values() == {
        "mlprune_attempts": {("prune", "lost"): 2, ("prune", "done"): 1},
        "mlprune_job_seconds": {("prune",): 1.5},
        "mlprune_retries": {("prune",): 2},
        "mlprune_halvings": {("prune",): 1},
        "mlprune_workers": {(): 2},
    }


def test_the_queue_and_the_number_of_workers_are_set(recorded: RayMetrics) -> None:
    recorded.set_load(n_waiting=7, n_running=2)
    recorded.set_workers(3)
    assert values() == {
        "mlprune_jobs_waiting": {(): 7},
        "mlprune_jobs_running": {(): 2},
        "mlprune_workers": {(): 3},
    }


def test_only_a_job_with_batches_that_ran_out_of_memory_is_halved(recorded: RayMetrics) -> None:
    def is_halved(job: Job, failure: Failure | None = None) -> bool:
        before = values().get("mlprune_halvings", {})
        count(recorded, job, failure, status="done" if failure is None else "lost")
        return values().get("mlprune_halvings", {}) != before

    assert is_halved(JOB, OUT_OF_MEMORY)
    assert not is_halved(JOB, LOST)
    assert not is_halved(NamedJob("a"), OUT_OF_MEMORY)
    assert not is_halved(JOB)
