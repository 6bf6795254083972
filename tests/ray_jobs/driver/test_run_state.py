"""What a run retries after a failure."""

import pytest

from mlprune.steps.job import HALF_BATCHES, OFFLOADED
from ray_jobs.driver.run_state import MAX_ATTEMPTS, RunState
from tests.ray_jobs.driver.scripted_workers import BROKEN, LOST, OUT_OF_MEMORY, BatchedJob, NamedJob


@pytest.fixture
def state() -> RunState:
    return RunState(waiting=[])


def test_a_job_is_ready_when_all_records_it_needs_exist(state: RunState) -> None:
    job = NamedJob("c", ("a", "b"))
    state.mark_done([("masks", "a")])
    assert not state.is_ready(job)
    state.mark_done([("masks", "b")])
    assert state.is_ready(job)


def test_a_permanent_failure_is_not_retried(state: RunState) -> None:
    assert state.next_attempt(NamedJob("a"), BROKEN) is None


def test_a_transient_failure_is_retried_unchanged_a_bounded_number_of_times(state: RunState) -> None:
    job = NamedJob("a")
    retries = [state.next_attempt(job, LOST) for _ in range(MAX_ATTEMPTS)]
    assert retries == [job] * (MAX_ATTEMPTS - 1) + [None]
    assert state.next_attempt(NamedJob("b"), LOST) is not None, "jobs are counted separately"


def test_out_of_memory_is_retried_with_less_memory_until_nothing_is_left(state: RunState) -> None:
    job = BatchedJob("a")
    half = state.next_attempt(job, OUT_OF_MEMORY)
    assert half == BatchedJob("a", batch_tokens=64, memory_level=HALF_BATCHES)
    offloaded = state.next_attempt(half, OUT_OF_MEMORY)
    assert offloaded == BatchedJob("a", batch_tokens=64, memory_level=OFFLOADED)
    assert state.next_attempt(offloaded, OUT_OF_MEMORY) is None
