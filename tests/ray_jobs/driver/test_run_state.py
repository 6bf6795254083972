"""The queue of jobs that wait, and what a run retries after a failure."""

from dataclasses import replace

import pytest

from mlprune.recipe.models import Recipe
from mlprune.steps.job import HALF_MODEL, MIN_BATCH_TOKENS, ONE_BLOCK, Job
from ray_jobs.driver.run_state import MAX_ATTEMPTS, JobQueue, RunState, next_commands
from ray_jobs.workers.recovery import MAX_FAILURES, Failure
from tests.ray_jobs.driver.scripted_workers import BROKEN, LOST, OUT_OF_MEMORY, BatchedJob, NamedJob
from tests.search_recipes import search_recipe, sensitivity_recipe


@pytest.fixture
def state() -> RunState:
    return RunState()


def taken(queue: JobQueue, *, now: float = 0.0, capacity: int = 9) -> list[str]:
    """Names of all jobs that one pass takes."""
    queue.begin_pass(now=now)
    return [queued.job.makes[-1][1] for queued in iter(lambda: queue.take(capacity), None)]


def test_a_job_is_ready_when_all_records_it_needs_exist() -> None:
    queue = JobQueue([NamedJob("c", ("a", "b"))])
    queue.mark_present([("masks", "a")])
    assert taken(queue) == []
    queue.mark_present([("masks", "b"), ("masks", "b")])
    assert queue.n_ready == 1
    assert taken(queue) == ["c"]
    assert (len(queue), queue.n_ready) == (0, 0)


def test_ready_jobs_are_taken_in_order_a_retry_first() -> None:
    queue = JobQueue([NamedJob("b"), NamedJob("a"), NamedJob("c", ("a",))], present={("masks", "a")})
    queue.add([NamedJob("d")])
    queue.add_first(NamedJob("first"))
    queue.add_first(NamedJob("before it"))
    assert taken(queue) == ["before it", "first", "b", "a", "c", "d"]


def test_a_job_that_becomes_ready_before_the_place_that_a_pass_has_reached_is_taken_by_the_next() -> None:
    queue = JobQueue([NamedJob("b", ("a",)), NamedJob("a"), NamedJob("c", ("a",))])
    queue.begin_pass(now=0.0)
    assert queue.take(9) == (1, NamedJob("a"))
    queue.mark_present([("masks", "a")])
    assert queue.n_ready == 2
    assert queue.take(9) == (2, NamedJob("c", ("a",)))
    assert queue.take(9) is None
    assert taken(queue) == ["b"]


def test_a_job_that_does_not_fit_waits_and_smaller_ones_do_not() -> None:
    queue = JobQueue(map(NamedJob, "abc"), size_of=lambda job: 2 if job == NamedJob("b") else 1)
    assert taken(queue, capacity=1) == ["a", "c"]
    assert taken(queue, capacity=2) == ["b"]


def test_a_job_that_was_set_aside_waits_in_its_place_until_its_time_and_is_not_counted_as_ready() -> None:
    queue = JobQueue(map(NamedJob, "ab"))
    queue.begin_pass(now=0.0)
    first = queue.take(1)
    assert first is not None
    queue.set_aside(first, until=5.0)
    assert (len(queue), queue.n_ready, queue.aside) == (2, 1, [NamedJob("a")])
    queue.begin_pass(now=5.0)
    assert (len(queue), queue.n_ready, queue.aside) == (2, 1, [NamedJob("a")])
    assert taken(queue, now=4.9) == ["a", "b"]
    assert queue.aside == []


def test_a_permanent_failure_is_not_retried(state: RunState) -> None:
    assert state.next_attempt(NamedJob("a"), BROKEN) is None


def test_a_transient_failure_is_retried_unchanged_a_bounded_number_of_times(state: RunState) -> None:
    job = NamedJob("a")
    retries = [state.next_attempt(job, LOST) for _ in range(MAX_ATTEMPTS)]
    assert retries == [job] * (MAX_ATTEMPTS - 1) + [None]
    assert state.next_attempt(NamedJob("b"), LOST) is not None, "jobs are counted separately"


def test_out_of_memory_is_retried_with_less_memory_until_nothing_is_left(state: RunState) -> None:
    tried: list[Job] = []
    job: Job | None = BatchedJob("a", batch_tokens=70)
    while (job := state.next_attempt(job, OUT_OF_MEMORY)) is not None:
        tried.append(job)
    assert tried == [
        BatchedJob("a", batch_tokens=35, n_halvings=1),
        BatchedJob("a", batch_tokens=17, n_halvings=2),
        BatchedJob("a", batch_tokens=MIN_BATCH_TOKENS, n_halvings=3),
        BatchedJob("a", batch_tokens=MIN_BATCH_TOKENS, n_halvings=3, offload_level=HALF_MODEL),
        BatchedJob("a", batch_tokens=MIN_BATCH_TOKENS, n_halvings=3, offload_level=ONE_BLOCK),
    ]


def test_a_model_without_memory_to_load_is_offloaded_and_batches_stay_as_they_are(state: RunState) -> None:
    at_load = replace(OUT_OF_MEMORY, at_load=True)
    retry = state.next_attempt(BatchedJob("a"), at_load)
    assert retry == BatchedJob("a", offload_level=HALF_MODEL)
    assert state.next_attempt(BatchedJob("a", offload_level=ONE_BLOCK), at_load) is None


def test_a_worker_that_cannot_load_the_model_costs_its_job_no_attempt(state: RunState) -> None:
    busy = Failure("DeviceError", "no room", True, False, worker_fault="busy device", at_load=True)
    job = BatchedJob("a")
    assert [state.next_attempt(job, busy) for _ in range(2 * MAX_ATTEMPTS)] == [job] * 2 * MAX_ATTEMPTS


def test_a_job_that_breaks_the_device_of_every_worker_is_tried_a_bounded_number_of_times(state: RunState) -> None:
    broken = Failure("DeviceError", "illegal address", True, False, worker_fault="broken device")
    job = BatchedJob("a")
    retries = [state.next_attempt(job, broken) for _ in range(MAX_ATTEMPTS)]
    assert retries == [job] * (MAX_ATTEMPTS - 1) + [None]
    assert MAX_ATTEMPTS < MAX_FAILURES, "the job fails before its worker is retired"


def test_the_first_command_after_a_run_shows_the_results_of_its_searches_or_its_sensitivity() -> None:
    searched, analysed = (Recipe.model_validate(recipe) for recipe in (search_recipe(), sensitivity_recipe()))
    assert next_commands(searched, "s")[0] == "mlprune query search_final --store s"
    assert next_commands(analysed, "s")[0] == "mlprune query sensitive_units --store s"
