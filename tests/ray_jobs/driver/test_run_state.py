"""What a run retries after a failure."""

from dataclasses import replace

import pytest

from mlprune.recipe import Recipe
from mlprune.steps.job import HALF_MODEL, MIN_BATCH_TOKENS, ONE_BLOCK, Job
from ray_jobs.driver.run_state import MAX_ATTEMPTS, RunState, next_commands
from ray_jobs.workers.recovery.failures import Failure
from ray_jobs.workers.recovery.worker_health import MAX_FAILURES
from tests.ray_jobs.driver.scripted_workers import BROKEN, LOST, OUT_OF_MEMORY, BatchedJob, NamedJob
from tests.search_recipes import search_recipe, sensitivity_recipe


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
