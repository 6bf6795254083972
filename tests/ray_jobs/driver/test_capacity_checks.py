"""Checks before a run: the pool fits on the machine and the results fit on the disk; the text of a pool."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import BadInputError
from mlprune.plan.resources.estimate import Needs, needs_of
from mlprune.plan.resources.node_capacity import GIB, Gpu, Node
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.job import JobCost
from mlprune.steps.questions.declarations import declarations
from mlprune.store.store import Store
from ray_jobs.driver import capacity_checks
from ray_jobs.driver.capacity_checks import format_pool, in_process_pool, local_ray_pool, question_lines, require_room
from ray_jobs.workers.node_resources import n_cpus
from tests.tiny_recipes import plan_of, small_recipe, write_recipe


@pytest.fixture(scope="module")
def needs(tiny_inputs: Path) -> Needs:
    plan = plan_of(write_recipe(tiny_inputs, small_recipe(), name="fitting.yaml"))
    return needs_of(plan, plan.jobs)


def with_compute(needs: Needs, **compute: object) -> Needs:
    return replace(needs, compute=needs.compute.model_copy(update=compute))


def test_this_process_is_one_worker_with_one_shard_regardless_of_the_recipe(needs: Needs) -> None:
    pool = in_process_pool(with_compute(needs, replicas=5, shards=3))
    assert (pool.n_workers, pool.n_shards, pool.threads) == (1, 1, n_cpus())


def test_this_process_uses_the_memory_of_the_recipe(needs: Needs) -> None:
    assert in_process_pool(with_compute(needs, memory_gib_per_actor=2.0)).memory_bytes == 2 * GIB
    with pytest.raises(BadInputError, match="memory_gib_per_actor"):
        in_process_pool(with_compute(needs, memory_gib_per_actor=0.2))


def test_this_process_uses_its_accelerators_unless_the_recipe_says_cpu(
    needs: Needs, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu = replace(needs, model=replace(needs.model, device="cuda"))
    with pytest.raises(BadInputError, match="device: cpu"):
        in_process_pool(with_compute(on_gpu, device="cuda"))
    machine = Node(4.0, 64 * GIB, (Gpu(8 * GIB),) * 2)
    monkeypatch.setattr(capacity_checks, "local_node", lambda: machine)
    assert in_process_pool(with_compute(on_gpu, device="cuda")).n_gpus == 2
    assert in_process_pool(with_compute(needs, device="cpu")).n_gpus == 0


def test_a_local_ray_uses_replicas_and_shards_of_the_recipe(needs: Needs) -> None:
    pool = local_ray_pool(with_compute(needs, replicas=1, shards=2))
    assert (pool.n_workers, pool.n_shards) == (1, 2)


def test_a_run_whose_results_do_not_fit_on_the_disk_is_refused(needs: Needs, tmp_path: Path) -> None:
    require_room(needs, Store(tmp_path / "store"))
    huge = replace(needs, costs=(JobCost("observe", disk_bytes=2.0**70),))
    with pytest.raises(BadInputError, match="free") as caught:
        require_room(huge, Store(tmp_path / "store"))
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "store").exists()


def test_the_text_of_a_pool_has_replicas_shards_threads_and_gpus(needs: Needs) -> None:
    two = with_compute(needs, replicas=2, shards=1).pool([Node(4.0, 64 * GIB)])
    assert format_pool(two).startswith("2 replicas of 1 shard; each actor has 2 threads, 0.")
    cut = with_compute(needs, replicas=1, shards=3).pool([Node(3.0, 64 * GIB, (Gpu(GIB),) * 3)])
    assert format_pool(cut).startswith("1 replica of 3 shards each; each actor has 1 thread, 0.")
    assert format_pool(cut).endswith("1 GPU")


GAIN: dict[str, Any] = {"name": "helps", "variants": "ordering", "task": "facts", "languages": "outside_english"}
MARGIN: dict[str, Any] = {
    "name": "keeps",
    "variants": "ordering",
    "task": "facts",
    "languages": "en",
    "claim": "noninferior",
    "margin": 0.01,
}


def lines_of(folder: Path, store: Store, *questions: dict[str, Any]) -> list[str]:
    path = write_recipe(folder, {**small_recipe(), "questions": list(questions)}, name="asked.yaml")
    plan = plan_of(path)
    return question_lines(plan, store, declarations(plan.questions, store))


def test_a_recipe_without_questions_has_no_lines(own_inputs: Path, tmp_path: Path) -> None:
    assert lines_of(own_inputs, Store(str(tmp_path))) == []


def test_each_declared_question_has_a_line_and_then_its_warnings(own_inputs: Path, tmp_path: Path) -> None:
    head, gain, margin, *warnings = lines_of(own_inputs, Store(str(tmp_path)), GAIN, MARGIN)
    assert head.startswith("questions: 2 declared")
    assert all(
        words in gain for words in ("helps: gain in accuracy, outside_english; 2 tests", "gain found with 80 % power")
    )
    assert all(words in margin for words in ("within 1.0 points", "2 tests", "testable margin"))
    assert [line.split(":")[1] for line in warnings] == [
        " question helps",
        " questions helps, keeps",
        " question keeps",
    ]
    assert "a margin of 1.0 points needs about" in warnings[2]


def test_a_question_that_comes_after_its_results_is_reported_as_exploratory(own_inputs: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    path = write_recipe(own_inputs, {**small_recipe(), "questions": [MARGIN]}, name="asked.yaml")
    plan = plan_of(path)
    for evaluation in (one for job in plan.jobs if isinstance(job, EvaluateJob) for one in job.evaluations):
        store.write_record(evaluation.identity.record(rows={"metrics": []}))
    lines = question_lines(plan, store, declarations(plan.questions, store))
    warnings = [line for line in lines if "exploratory" in line and line.startswith("warning")]
    assert len(warnings) == 1
    assert "2 results existed before" in warnings[0]


def test_a_mean_counts_its_comparisons_and_seeds(own_inputs: Path, tmp_path: Path) -> None:
    _, line, *_ = lines_of(own_inputs, Store(str(tmp_path)), {**MARGIN, "over": "mean"})
    assert "1 test of the mean of 2 comparisons and 1 seed" in line
