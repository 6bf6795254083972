"""What jobs take, counted by hand on the tiny model: 3 blocks of 16 features, feed-forward 64, float32."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.models.placement.memory_estimate import Footprint, footprint
from mlprune.plan import Plan
from mlprune.plan.job_costs import SMALL_JOB_BYTES, Work, makespan, most_held, work_of
from mlprune.steps.demonstrate.jobs import MixJob
from mlprune.steps.evaluate.jobs import EvaluateJob
from mlprune.steps.observe.activations import ActivationsJob
from mlprune.steps.observe.jobs import ObserveJob, ObservePartJob
from mlprune.steps.observe.neurons import NeuronActivityJob
from mlprune.steps.prune.sweep import SweepJob
from tests.tiny_models import HIDDEN, VOCABULARY
from tests.tiny_recipes import method_recipe, plan_of, tiny_recipe, write_recipe

N_IN_BLOCK = 4 * 16 * 16 + 2 * 16 * 64
N_BLOCKS = 3
SET_TOKENS = 4 * 48


@pytest.fixture(scope="module")
def plan(tiny_inputs: Path) -> Plan:
    return plan_of(write_recipe(tiny_inputs, tiny_recipe(), name="work.yaml"))


@pytest.fixture(scope="module")
def works(plan: Plan) -> list[Work]:
    return work_of(plan, sizes_of(plan), plan.jobs)


def sizes_of(plan: Plan) -> Footprint:
    return footprint(Path(plan.model.path), plan.model.dtype)


def pairs(plan: Plan, works: list[Work], kind: Any) -> list[tuple[Any, Work]]:
    return [(job, work) for job, work in zip(plan.jobs, works, strict=True) if isinstance(job, kind)]


def test_observing_multiplies_every_token_with_every_weight_of_the_blocks_once(plan: Plan, works: list[Work]) -> None:
    mixed = {job.identity.id for job in plan.jobs if isinstance(job, MixJob)}
    observed = pairs(plan, works, ObserveJob)
    assert observed
    for job, work in observed:
        n_tokens = 3 * SET_TOKENS if job.demonstration_set_id in mixed else SET_TOKENS
        assert work.flops == 2 * n_tokens * N_IN_BLOCK * N_BLOCKS
        assert work.disk_bytes == 4 * (n_tokens // 48) * (3 * 16 + 64) * N_BLOCKS
        assert (work.n_passes, work.on_chain) == (1, True)


def test_counting_neurons_takes_the_products_of_observing_and_a_few_digits_a_neuron(plan: Plan) -> None:
    whole = next(job for job in plan.jobs if isinstance(job, ObserveJob))
    counting = NeuronActivityJob(whole.identity, whole.model, whole.demonstration_set_id, whole.batch_tokens)
    of_whole, of_counting = work_of(plan, sizes_of(plan), [whole, counting])
    assert (of_counting.flops, of_counting.n_passes) == (of_whole.flops, of_whole.n_passes)
    assert of_counting.disk_bytes == 6 * 64 * N_BLOCKS


def test_a_part_of_a_set_takes_its_share(plan: Plan) -> None:
    whole = next(job for job in plan.jobs if isinstance(job, ObserveJob))
    part = ObservePartJob(
        whole.identity, whole.model, whole.demonstration_set_id, whole.identity.id, range(1, 4), whole.batch_tokens
    )
    of_whole, of_part = work_of(plan, sizes_of(plan), [whole, part])
    assert of_part.flops == 3 / 4 * of_whole.flops
    assert of_part.disk_bytes == 3 / 4 * of_whole.disk_bytes


def test_raw_activations_hold_their_largest_part_and_leave_what_they_say(plan: Plan) -> None:
    whole = next(job for job in plan.jobs if isinstance(job, ObserveJob))
    common = {"blocks": (1,), "inputs": ("fc2",), "batch_tokens": 128, "quota_gib": 1.0, "set_name": "mt"}
    job = ActivationsJob(
        whole.identity,
        whole.model,
        whole.demonstration_set_id,
        parts=(range(2), range(2, 3)),
        dtype="float16",
        most_bytes=3 * 2**20,
        **common,
    )
    (found,) = work_of(plan, sizes_of(plan), [job])
    assert found.disk_bytes == 3 * 2**20
    assert found.fixed_bytes == SMALL_JOB_BYTES + 3 * 2 * 2 * 2**20
    once = 3 / 4 * 2 * SET_TOKENS * N_IN_BLOCK * N_BLOCKS
    assert (found.n_passes, found.flops) == (2, 2 * once), "each block runs to be looked at and to go on"


def test_a_sweep_runs_every_block_twice_over_all_its_sets_and_keeps_their_states(plan: Plan, works: list[Work]) -> None:
    for job, work in pairs(plan, works, SweepJob):
        n_sets = len(job.variant.set_ids) + (job.variant.contrast_set_id is not None)
        assert work.flops == 2 * 2 * n_sets * SET_TOKENS * N_IN_BLOCK * N_BLOCKS
        assert work.fixed_bytes > SMALL_JOB_BYTES + n_sets * SET_TOKENS * HIDDEN * 4


def test_evaluation_counts_the_head_and_every_pass_of_a_translation(plan: Plan, works: list[Work]) -> None:
    for job, work in pairs(plan, works, EvaluateJob):
        tasks = [one.task.task for one in job.evaluations]
        n_translated = tasks.count("translation")
        assert work.n_passes == 1 + len(tasks) - n_translated + 4 * n_translated
        assert work.flops > 2 * HIDDEN * VOCABULARY * len(tasks)
        assert work.thread_bytes > 128 * VOCABULARY * 4


def test_every_job_of_every_method_has_its_memory_and_its_room_on_disk(tiny_inputs: Path) -> None:
    plan = plan_of(write_recipe(tiny_inputs, method_recipe(), name="work-methods.yaml"))
    works = work_of(plan, sizes_of(plan), plan.jobs)
    assert len(works) == len(plan.jobs)
    assert all(work.fixed_bytes >= SMALL_JOB_BYTES for work in works)
    assert all(work.disk_bytes > 0 for work in works)
    assert {work.step for work in works} == {job.step for job in plan.jobs}
    assert all(work.thread_bytes for work in works if work.step in ("prune", "sweep") and work.flops)
    changed = [work for job, work in pairs(plan, works, SweepJob) if job.variant.weights_changed]
    others = [work for job, work in pairs(plan, works, SweepJob) if not job.variant.weights_changed]
    assert min(work.disk_bytes for work in changed) > max(work.disk_bytes for work in others)


def test_a_model_of_another_orientation_has_the_same_work(tmp_path: Path) -> None:
    from tests.tiny_recipes import small_recipe, write_inputs  # noqa: PLC0415

    plan = plan_of(write_recipe(write_inputs(tmp_path, family="gpt2"), small_recipe()))
    observed = next(one for one in work_of(plan, sizes_of(plan), plan.jobs) if one.step == "observe")
    assert observed.flops == 2 * SET_TOKENS * N_IN_BLOCK * N_BLOCKS
    assert observed.disk_bytes == 4 * 4 * (3 * 16 + 64) * N_BLOCKS


def test_the_hungriest_job_decides_and_it_depends_on_the_threads_which_one_that_is() -> None:
    steady, growing = Work("a", fixed_bytes=100), Work("b", fixed_bytes=40, thread_bytes=40)
    assert [most_held((steady, growing), n) for n in (1, 2)] == [100, 120]
    assert most_held((), 1) == SMALL_JOB_BYTES


def test_workers_share_the_jobs_of_a_step_and_not_a_job() -> None:
    works = [Work("observe", flops=4.0), Work("observe", flops=2.0), Work("evaluate", flops=3.0, n_passes=7.0)]
    assert [makespan(works, n) for n in (1, 2, 3)] == [9.0, 7.0, 7.0]
    assert makespan(works, 1, of=lambda work: work.n_passes) == 7.0
    assert makespan([], 2) == 0
