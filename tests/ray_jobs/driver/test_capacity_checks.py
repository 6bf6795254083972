"""Checks before a run: the pool fits on the machine and the results fit on the disk; the text of a pool."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlprune.errors import BadInputError
from mlprune.plan.estimate import Needs, needs_of
from mlprune.plan.node_capacity import Gpu, Node
from mlprune.plan.pool import GIB
from mlprune.steps.job_cost import JobCost
from mlprune.store.store import Store
from ray_jobs.driver import capacity_checks
from ray_jobs.driver.capacity_checks import format_pool, in_process_pool, local_ray_pool, require_room
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
