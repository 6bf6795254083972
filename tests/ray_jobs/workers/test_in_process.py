"""Workers in this process, and pools that grow and shrink."""

import logging
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mlprune.models.placement.budget import DeviceBudget, MemoryBudget, Residency, residency, smallest_budget
from mlprune.models.placement.memory_estimate import GROUP_BYTES, PROCESS_BYTES, footprint, shard_bytes
from mlprune.models.shard import Shard
from mlprune.planning import Plan
from mlprune.planning.resources.estimate import needs_of
from mlprune.planning.resources.node_capacity import GIB, Gpu, Node, Pool
from mlprune.steps.job import HALF_MODEL, ONE_BLOCK, WHOLE_MODEL, ChainLoader, ModelRef
from mlprune.store.store import Store
from ray_jobs.workers import cluster_nodes as module
from ray_jobs.workers import in_process
from ray_jobs.workers.cluster_nodes import ClusterNode, Scaling, n_fitting
from ray_jobs.workers.in_process import InProcessWorkers, budget, device_budget, load_model, load_shard, warm_up
from ray_jobs.workers.recovery import FIRST_PAUSE_S
from tests.ray_jobs.workers.pools import MODEL, ONE_SHARD, TWO_SHARDS
from tests.stub_jobs import StubJob
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import plan_of, small_recipe, write_recipe


@pytest.fixture(scope="module")
def plan(tiny_inputs: Path) -> Plan:
    return plan_of(write_recipe(tiny_inputs, small_recipe(), name="loading.yaml"))


@pytest.fixture(scope="module")
def pool(plan: Plan) -> Pool:
    return needs_of(plan, plan.jobs).pool([Node(1.0, 64 * GIB)])


def test_a_pool_with_room_for_the_model_sets_no_limit(plan: Plan, pool: Pool) -> None:
    assert budget(plan.model, range(3), pool) is None
    assert load_model(plan.model, pool).spans == (range(3),)
    assert load_shard(plan.model, range(1, 3), pool).blocks == range(1, 3)


def test_an_offloaded_pool_limits_the_memory(plan: Plan, pool: Pool) -> None:
    tight = replace(pool, resident=(1,), memory_bytes=GIB, working_bytes=10)
    assert budget(plan.model, range(3), tight) == MemoryBudget(GIB, 10)


def test_an_offloaded_load_keeps_half_of_the_weights_in_memory(plan: Plan, pool: Pool) -> None:
    weights = shard_bytes(footprint(Path(plan.model.path), plan.model.dtype), range(3))
    working = pool.working_bytes + GROUP_BYTES
    roomy = replace(pool, memory_bytes=PROCESS_BYTES + working + weights)
    memory = budget(plan.model, range(3), roomy, offload_level=HALF_MODEL)
    assert memory == MemoryBudget(PROCESS_BYTES + working + weights // 2, working)
    (limit,) = load_model(plan.model, roomy, offload_level=HALF_MODEL).everywhere(Shard.group_limit)
    assert limit is not None, "blocks are offloaded"


def test_the_last_offload_level_keeps_one_block_at_a_time_in_memory(plan: Plan, pool: Pool) -> None:
    sizes = footprint(Path(plan.model.path), plan.model.dtype)
    memory = budget(plan.model, range(3), pool, offload_level=ONE_BLOCK)
    assert memory is not None
    assert memory.process_bytes == smallest_budget(sizes, range(3), working_bytes=memory.working_bytes)
    assert residency(sizes, range(3), memory) == Residency(0, 1)


def test_an_offloaded_load_stays_within_the_memory_of_its_pool_if_one_block_fits(plan: Plan, pool: Pool) -> None:
    sizes = footprint(Path(plan.model.path), plan.model.dtype)
    working = pool.working_bytes + GROUP_BYTES
    least = smallest_budget(sizes, range(3), working_bytes=working)
    for memory_bytes, expected in ((least + 1, least + 1), (least - 1, least)):
        memory = budget(plan.model, range(3), replace(pool, memory_bytes=memory_bytes), offload_level=HALF_MODEL)
        assert memory == MemoryBudget(expected, working)


def test_a_pool_without_gpus_loads_nothing_on_a_gpu_of_the_machine(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (64 * GIB, 64 * GIB))
    needs = needs_of(plan, plan.jobs)
    needs = replace(needs, compute=needs.compute.model_copy(update={"gpus_per_actor": 0}))
    pool = needs.pool([Node(1.0, 64 * GIB, (Gpu(64 * GIB),))])
    (shard,) = load_model(plan.model, pool).shards
    assert {tensor.device.type for tensor in shard.runner.modules[0].parameters()} == {"cpu"}
    assert load_shard(plan.model, range(1, 3), pool).runner.device.type == "cpu"


def test_every_offload_level_halves_the_weights_on_accelerators(pool: Pool) -> None:
    with_gpu = replace(pool, n_gpus=1.0, accelerators=DeviceBudget(1.0, 10))
    budgets = (device_budget(with_gpu, offload_level=level) for level in (WHOLE_MODEL, HALF_MODEL, ONE_BLOCK))
    assert [budget.device_share for budget in budgets] == [1.0, 0.5, 0.25]


def test_tf32_is_used_only_on_request(plan: Plan, pool: Pool) -> None:
    precisions = []
    for tf32 in (False, True, False):
        load_shard(replace(plan.model, tf32=tf32), range(1), pool)
        precisions.append(torch.backends.cuda.matmul.fp32_precision == "tf32")
    assert precisions == [False, True, False]


def test_parts_of_products_in_half_precision_are_added_in_float32(plan: Plan, pool: Pool) -> None:
    load_shard(plan.model, range(1), pool)
    products = torch.backends.cuda.matmul
    assert not products.allow_bf16_reduced_precision_reduction
    assert not products.allow_fp16_reduced_precision_reduction


def test_warming_up_ignores_a_missing_model(plan: Plan, tmp_path: Path) -> None:
    warm_up(plan.model)
    warm_up(replace(plan.model, path=str(tmp_path / "nowhere")))


KERNELS = """
import sys
import ray_jobs.workers.ray_pool
print("transformers" in sys.modules)
import numpy as np
import torch
from mlprune.numeric.masks import packed_masks, packing
from mlprune.numeric.masks.packed_masks import PackedLevels
from mlprune.numeric.selection import matrix, rows
from mlprune.numeric.weights import scores
from mlprune.steps.job import ModelRef
from ray_jobs.workers.in_process import warm_up

KERNELS = (rows._select_rows, matrix._write_levels, packing._fill_planes, packed_masks._write_four_bytes)
KERNELS += (scores._multiply_magnitudes,)
counts = lambda: [len(kernel.signatures) for kernel in KERNELS]
before = counts()
warm_up(ModelRef("0" * 20, "nowhere", "llama", 1, None, "float32"))
warm = counts()
weight = torch.ones(3, 256)
levels = rows.select_in_rows(scores.wanda_scores(weight, torch.ones(256)).numpy(), np.array([[9]]))
packed_masks.write_masked(weight, weight, PackedLevels.pack(torch.from_numpy(levels), 1).kept(0))
print(before, warm, counts())
"""


@pytest.mark.thorough("starts runs or workers of its own")
def test_a_driver_loads_no_code_of_models_and_warming_up_the_kernels_of_the_first_pruning_job() -> None:
    done = subprocess.run([sys.executable, "-c", KERNELS], capture_output=True, text=True, check=True)
    assert done.stdout == f"False\n{[0] * 5} {[1] * 5} {[1] * 5}\n"


@dataclass(frozen=True)
class LoadingJob(StubJob):
    """A job that loads its model."""

    model: ModelRef

    @property
    def chain_model(self) -> ModelRef:
        return self.model

    def run(self, store: Store, chain: ChainLoader) -> None:
        assert chain().n_blocks == self.model.n_blocks


def test_a_job_has_run_when_it_is_submitted_and_frees_the_worker_when_it_is_collected(tmp_path: Path) -> None:
    workers = InProcessWorkers(str(tmp_path), MODEL, ONE_SHARD)
    assert workers.free() == 1
    workers.submit(StubJob())
    assert workers.free() == 0
    ((job, outcome),) = workers.wait(timeout_s=0.0)
    assert (job, outcome.makes, outcome.failure) == (StubJob(), ("variants", "stub"), None)
    assert workers.free() == 1
    assert workers.wait() == []
    workers.close()


def failing_loads(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
    """Let the first loads fail with these errors and the next ones succeed."""
    remaining = iter(errors)

    def load(*_: object, **__: object) -> object:
        for error in remaining:
            raise error
        return SimpleNamespace(n_blocks=MODEL.n_blocks)

    monkeypatch.setattr(in_process, "load_model", load)


def test_a_broken_device_ends_the_pool_and_its_job_stays_to_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_loads(monkeypatch, torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
    workers = InProcessWorkers(str(tmp_path), MODEL, ONE_SHARD)
    workers.submit(LoadingJob(MODEL))
    ((_, outcome),) = workers.wait()
    assert outcome.failure is not None
    assert outcome.failure.is_transient
    assert workers.free() == 0
    assert "illegal memory access" in str(workers.problem)


def test_a_busy_device_is_tried_again_after_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(in_process, "time", SimpleNamespace(sleep=pauses.append))
    failing_loads(monkeypatch, torch.OutOfMemoryError("CUDA out of memory."))
    workers = InProcessWorkers(str(tmp_path), MODEL, ONE_SHARD)
    failures = []
    for _ in range(2):
        assert workers.free() == 1
        workers.submit(LoadingJob(MODEL))
        failures.append(workers.wait()[0][1].failure)
    assert [failure and failure.worker_fault for failure in failures] == ["busy device", None]
    assert len(pauses) == 1
    assert 0 < pauses[0] <= FIRST_PAUSE_S
    assert workers.problem is None


def test_models_are_loaded_in_this_process_and_errors_become_failures(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model", "gpt2", seed=4)
    model = replace(MODEL, path=str(folder), family="gpt2", n_blocks=3)
    workers = InProcessWorkers(str(tmp_path / "store"), model, ONE_SHARD)
    workers.submit(LoadingJob(model))
    assert workers.wait()[0][1].failure is None
    workers.submit(LoadingJob(replace(model, path=str(tmp_path / "nowhere"))))
    failure = workers.wait()[0][1].failure
    assert failure is not None
    assert failure.error == "ModelError"


TWO_CPUS = Node(2.0, 8 * 2**30)


def node(name: str, *, leaves_in_s: float | None = None, resources: Node = TWO_CPUS) -> ClusterNode:
    return ClusterNode(name, f"host-{name}", resources, leaves_in_s)


class Cluster:
    """Nodes by name."""

    def __init__(self, *nodes: ClusterNode) -> None:
        self.nodes = {one.node_id: one for one in nodes}
        self.error: Exception | None = None

    def list_nodes(self) -> list[ClusterNode]:
        if self.error is not None:
            raise self.error
        return list(self.nodes.values())

    def scaling(self, pool: Pool, *, is_fixed: bool = False) -> Scaling:
        return Scaling(pool, self.list_nodes, is_fixed=is_fixed)

    def set(self, *nodes: ClusterNode) -> None:
        self.nodes |= {one.node_id: one for one in nodes}


@pytest.fixture(autouse=True)
def _poll_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_INTERVAL_S", 0.0)


@pytest.mark.parametrize(("pool", "n"), [(ONE_SHARD, 3), (TWO_SHARDS, 1), (replace(ONE_SHARD, n_cpus=0.5), 6)])
def test_replicas_fit_on_nodes_with_their_shards_and_the_memory_of_their_workers(pool: Pool, n: int) -> None:
    assert n_fitting(pool, [Node(1.0, 4 * 2**30), TWO_CPUS, Node(0.0, 2**33)]) == n


def test_replicas_are_added_for_a_node_that_joins_and_the_change_is_logged_and_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = Cluster(node("a"))
    scaling = cluster.scaling(replace(ONE_SHARD, n_workers=2))
    assert scaling.usable_nodes() == {"a"}
    assert (scaling.added(), scaling.take_changes()) == ([], [])
    cluster.set(node("b"))
    with caplog.at_level(logging.WARNING):
        assert scaling.usable_nodes() == {"a", "b"}
        assert scaling.added() == [2, 3]
    changes = scaling.take_changes()
    assert [change.n_replicas for change in changes] == [2, 4]
    assert [line.partition(";")[0] for line in caplog.messages] == [change.reason for change in changes]
    assert "host-b" in changes[0].reason
    assert (scaling.usable_nodes(), scaling.added(), scaling.take_changes()) == ({"a", "b"}, [], [])


def test_a_run_that_was_planned_with_fewer_replicas_than_fit_gets_those_that_fit_on_the_new_node() -> None:
    cluster = Cluster(node("a"))
    scaling = cluster.scaling(ONE_SHARD)
    cluster.set(node("b"))
    scaling.usable_nodes()
    assert scaling.added() == [1, 2]


def test_the_replicas_of_a_leaving_node_are_started_again_only_up_to_the_planned_number() -> None:
    cluster = Cluster(node("a"), node("b"))
    scaling = cluster.scaling(replace(ONE_SHARD, n_workers=4))
    cluster.set(node("c"))
    scaling.usable_nodes()
    assert scaling.added() == [4, 5]
    cluster.set(node("b", leaves_in_s=30.0))
    assert scaling.usable_nodes() == {"a", "c"}
    assert [scaling.keeps(number) for number in (2, 3)] == [False, False]
    cluster.set(node("c", leaves_in_s=float("inf")))
    assert scaling.usable_nodes() == {"a"}
    assert [scaling.keeps(number) for number in (4, 5)] == [True, True], "the run was planned with four"
    reasons = [change.reason for change in scaling.take_changes()]
    assert any("host-b is about to leave in 30 s" in reason for reason in reasons)
    assert any("host-c is about to leave:" in reason for reason in reasons)
    del cluster.nodes["c"]
    scaling.usable_nodes()
    assert [change.reason for change in scaling.take_changes()] == ["node host-c left"]


def test_no_replica_is_added_if_the_recipe_sets_their_number_or_the_accelerators_of_a_node_are_smaller() -> None:
    cluster = Cluster(node("a"))
    fixed = cluster.scaling(replace(ONE_SHARD, n_workers=2), is_fixed=True)
    cluster.set(node("b"))
    fixed.usable_nodes()
    assert fixed.added() == []

    large, small = (replace(TWO_CPUS, gpus=(Gpu(gib * 2**30),)) for gib in (80, 24))
    cluster = Cluster(node("a", resources=large))
    on_gpus = cluster.scaling(replace(ONE_SHARD, n_gpus=1.0))
    cluster.set(node("b", resources=small))
    on_gpus.usable_nodes()
    assert on_gpus.added() == []
    cluster.set(node("c", resources=large))
    on_gpus.usable_nodes()
    assert on_gpus.added() == [1]


def test_nothing_changes_while_the_nodes_cannot_be_listed() -> None:
    cluster = Cluster(node("a"))
    scaling = cluster.scaling(ONE_SHARD)
    cluster.error = ConnectionError("the head does not answer")
    assert (scaling.usable_nodes(), scaling.take_changes()) == (None, [])


def test_the_nodes_are_listed_only_at_intervals_and_never_on_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_INTERVAL_S", 60.0)
    scaling = Cluster(node("a")).scaling(ONE_SHARD)
    assert scaling.usable_nodes() is None
    assert scaling.interval_s is not None
    assert 50 < scaling.interval_s <= 60
    assert (Scaling(ONE_SHARD).usable_nodes(), Scaling(ONE_SHARD).interval_s) == (None, None)
