"""Planning of the pool of a run: resolved `auto` values, and refusals with a recipe line that fits."""

import math
import re
from dataclasses import replace

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError
from mlprune.models.block_ranges import plan_spans
from mlprune.models.placement.budget import NO_DEVICES, DeviceMemory, place_parts, residency
from mlprune.models.placement.memory_estimate import GROUP_BYTES, PROCESS_BYTES, Footprint
from mlprune.planning.resources.node_capacity import GIB, Actor, Coordinators, Gpu, Node, Pool, has_room
from mlprune.planning.resources.worker_pool import plan_pool
from mlprune.recipe.models import ComputeConfig
from mlprune.steps.evaluate.model_evaluation import tasks_cost
from mlprune.steps.job import JobCost, SetSize
from mlprune.steps.observe.dense_pass import COORDINATING_BYTES, statistics_cost
from mlprune.steps.prune.ordering import ordering_cost
from tests.refusals import refused

MIB = 2**20
SIZES = Footprint(
    before=512 * MIB,
    blocks=(256 * MIB,) * 8,
    tail=512 * MIB,
    tied=512 * MIB,
    on_demand=512 * MIB,
    prunable=(16 * MIB,) * 4,
    widest=4096,
    hidden=1024,
    inputs=7168,
    vocabulary=65536,
    itemsize=4,
)
"""2.5 GiB in total: 0.5 before the blocks, the same tensor after them, and a quarter for each of 8 blocks."""
WORKING = 256 * MIB
OBSERVE = JobCost(
    "observe",
    flops=1e12,
    n_passes=1,
    fixed_bytes=128 * MIB,
    thread_bytes=128 * MIB,
    device_fixed_bytes=32 * MIB,
    device_thread_bytes=128 * MIB,
    runs_model=True,
)
ORDER = JobCost("prune", fixed_bytes=64 * MIB, thread_bytes=64 * MIB)
MANY = (*[OBSERVE] * 100, ORDER)
WHOLE = PROCESS_BYTES + WORKING + 2560 * MIB


def pool(nodes: list[Node], costs: tuple[JobCost, ...] = MANY, **compute: object) -> Pool:
    """The pool of a recipe whose section `compute` says so much."""
    return plan_pool(ComputeConfig.model_validate(compute), SIZES, nodes, costs=costs)


def node(cpus: int, gib: float, *, n_gpus: int = 0, gpu_bytes: int = 0) -> Node:
    return Node(float(cpus), int(gib * GIB), (Gpu(gpu_bytes),) * n_gpus)


def test_a_model_that_fits_has_one_shard_and_replicas_use_all_cpus() -> None:
    found = pool([node(4, 64)])
    assert (found.n_workers, found.n_shards, found.threads, found.n_gpus) == (4, 1, 1, 0)
    assert found.memory_bytes == WHOLE
    assert (found.resident, found.is_offloaded, found.coordinator_bytes) == ((8,), False, 0)


def test_memory_for_one_replica_gives_it_all_cpus_as_threads() -> None:
    found = pool([node(4, 5)])
    assert (found.n_workers, found.n_shards, found.threads, found.n_cpus) == (1, 1, 4, 4.0)
    assert found.memory_bytes == WHOLE + 3 * OBSERVE.thread_bytes


def test_memory_limits_the_number_of_threads() -> None:
    found = pool([Node(4.0, WHOLE + 2 * OBSERVE.thread_bytes)])
    assert (found.n_workers, found.threads, found.n_cpus) == (1, 3, 3.0)
    given_memory = pool([node(4, 64)], replicas=1, memory_gib_per_actor=(WHOLE + OBSERVE.thread_bytes) / GIB)
    assert (given_memory.threads, given_memory.is_offloaded) == (2, False)


def test_a_model_too_large_for_a_node_is_split_into_as_few_shards_as_fit() -> None:
    found = pool([node(2, 3.3)] * 4)
    assert (found.n_workers, found.n_shards, found.threads, found.is_offloaded) == (2, 2, 2, False)
    assert found.resident == (4, 4)
    assert found.memory_bytes == PROCESS_BYTES + WORKING + OBSERVE.thread_bytes + 1536 * MIB
    assert found.coordinator_bytes == PROCESS_BYTES + COORDINATING_BYTES


def test_a_model_too_large_for_all_nodes_together_is_partly_offloaded() -> None:
    found = pool([node(2, 2.5)])
    assert (found.n_workers, found.n_shards, found.threads) == (1, 1, 2)
    assert found.is_offloaded
    assert found.memory_bytes == 2.5 * GIB
    assert found.working_bytes == WORKING + OBSERVE.thread_bytes + GROUP_BYTES
    assert 1 <= sum(found.resident) < 8


def test_an_offloaded_model_has_one_replica_per_node_instead_of_one_per_cpu() -> None:
    found = pool([node(8, 2.5)] * 3)
    assert (found.n_workers, found.n_shards, found.is_offloaded) == (1, 2, False), "two shards hold it"
    one_shard = pool([node(8, 2.5)] * 3, shards=1)
    assert (one_shard.n_workers, one_shard.is_offloaded) == (3, True)


def test_settings_of_the_recipe_are_used() -> None:
    found = pool([node(8, 64)], replicas=2, shards=3, memory_gib_per_actor=4)
    assert (found.n_workers, found.n_shards, found.threads) == (2, 3, 1)
    assert found.memory_bytes == 4 * GIB
    assert [len(found.resident), sum(found.resident)] == [3, 8]


def test_more_actors_than_cpus_can_be_placed() -> None:
    found = pool([node(2, 64)], replicas=1, shards=3)
    assert (found.threads, found.n_cpus) == (1, 0.6666)


def test_a_single_job_gets_threads_instead_of_replicas() -> None:
    assert pool([node(4, 64)], costs=(OBSERVE,)).threads == 4
    assert pool([node(4, 64)], costs=(OBSERVE, ORDER, ORDER)).n_workers == 1
    assert pool([node(4, 64)], costs=(ORDER,) * 9).n_workers == 4
    assert pool([node(4, 64)], costs=()).n_workers == 4


def test_the_model_is_on_accelerators_if_it_fits() -> None:
    found = pool([node(8, 64, n_gpus=2, gpu_bytes=8 * GIB)])
    assert (found.n_workers, found.n_shards, found.n_gpus, found.threads) == (2, 1, 1.0, 4)
    assert not found.is_offloaded
    tight = pool([node(8, 64, n_gpus=2, gpu_bytes=3 * GIB)])
    assert (tight.n_workers, tight.n_shards, tight.threads, tight.model_threads) == (2, 1, 4, 1)
    cut = pool([node(8, 64, n_gpus=2, gpu_bytes=2800 * MIB)])
    assert (cut.n_workers, cut.n_shards) == (1, 2), "two hold it, one does not"
    shared = pool([node(8, 64, n_gpus=1, gpu_bytes=16 * GIB)], gpus_per_actor=0.5)
    assert (shared.n_workers, shared.n_gpus) == (2, 0.5)


def test_weights_that_do_not_fit_on_accelerators_are_in_main_memory() -> None:
    found = pool([node(8, 64, n_gpus=1, gpu_bytes=2 * GIB)])
    assert (found.n_workers, found.n_shards, found.is_offloaded) == (1, 1, False)
    assert found.memory_bytes > PROCESS_BYTES + WORKING
    unknown = pool([node(8, 64, n_gpus=1)])
    assert unknown.memory_bytes >= WHOLE


def test_accelerators_are_not_used_if_the_recipe_asks_for_none() -> None:
    found = pool([node(8, 64, n_gpus=2, gpu_bytes=8 * GIB)], gpus_per_actor=0)
    assert (found.n_workers, found.n_gpus, found.accelerators) == (8, 0, NO_DEVICES)
    assert pool([node(8, 64, n_gpus=2, gpu_bytes=8 * GIB)], device="cpu").n_gpus == 0


XGLM_7_5B = Footprint(
    before=256_008 * 4096 * 2,
    blocks=(201_379_840 * 2,) * 32,
    tail=256_008 * 4096 * 2 + 16_384,
    tied=256_008 * 4096 * 2,
    on_demand=256_008 * 4096 * 2,
    prunable=(67_108_864,) * 2 + (16_777_216,) * 4,
    widest=16_384,
    hidden=4096,
    inputs=28_672,
    vocabulary=256_008,
    itemsize=2,
)
LARGE_BATCHES = (
    *[statistics_cost("observe", XGLM_7_5B, SetSize(51_200, 100), batch_tokens=8192)] * 100,
    *[tasks_cost("evaluate", XGLM_7_5B, (), batch_tokens=8192, device="cuda")] * 106,
    *[ordering_cost("prune", XGLM_7_5B, n_sparsities=10)] * 64,
)


def test_large_batches_need_memory_of_the_accelerators_and_not_of_the_host() -> None:
    nodes = [node(96, 200, n_gpus=8, gpu_bytes=79 * GIB)]
    found = plan_pool(ComputeConfig(), XGLM_7_5B, nodes, costs=LARGE_BATCHES)
    assert (found.n_workers, found.n_shards, found.device_blocks, found.is_offloaded) == (8, 1, 32, False)
    assert found.memory_bytes < 200 * GIB / 8
    assert found.accelerators.working_bytes > 10 * GIB
    on_cpus = plan_pool(ComputeConfig(gpus_per_actor=0), XGLM_7_5B, nodes, costs=LARGE_BATCHES)
    assert on_cpus.working_bytes > 10 * GIB


def test_two_threads_feed_an_accelerator_and_jobs_without_the_model_use_all_cpus() -> None:
    found = plan_pool(ComputeConfig(), XGLM_7_5B, [node(96, 400, n_gpus=8, gpu_bytes=79 * GIB)], costs=LARGE_BATCHES)
    assert (found.threads, found.model_threads) == (12, 2)
    assert pool([node(8, 64, n_gpus=2, gpu_bytes=8 * GIB)], gpus_per_actor=2).model_threads == 2, "one holds it"
    both = pool([node(8, 64, n_gpus=2, gpu_bytes=2 * GIB)], gpus_per_actor=2)
    assert (both.model_threads, both.device_blocks) == (4, 8)
    shared = pool([node(8, 64, n_gpus=1, gpu_bytes=16 * GIB)], gpus_per_actor=0.5)
    assert shared.model_threads == 1
    assert pool([node(8, 64, n_gpus=1)]).model_threads == 2, "the memory is unknown"


def test_blocks_in_main_memory_use_all_threads() -> None:
    found = pool([node(8, 64, n_gpus=1, gpu_bytes=2 * GIB)])
    assert (found.model_threads, found.device_blocks) == (8, 1)


def test_actors_that_share_an_accelerator_have_their_fraction_of_it() -> None:
    found = pool([node(8, 64, n_gpus=1, gpu_bytes=16 * GIB)], gpus_per_actor=0.25)
    assert found.accelerators.fraction_bytes == 4 * GIB
    too_small = pool([node(8, 64, n_gpus=1, gpu_bytes=8 * GIB)], gpus_per_actor=0.25, shards=1)
    assert too_small.device_blocks < 8
    assert too_small.n_workers * too_small.accelerators.fraction_bytes <= 8 * GIB


def test_every_accelerator_of_an_actor_keeps_room_for_the_work_of_the_jobs() -> None:
    hungry = replace(OBSERVE, device_fixed_bytes=GIB)
    roomy, tight = (
        pool([node(8, 64, n_gpus=3, gpu_bytes=2 * GIB)], (cost,), gpus_per_actor=3) for cost in (OBSERVE, hungry)
    )
    assert (roomy.device_blocks, roomy.model_threads) == (8, 4), "two accelerators hold all blocks"
    assert tight.device_blocks < 8
    assert tight.accelerators.working_bytes > GIB


def test_the_smallest_accelerator_of_all_nodes_is_planned_for() -> None:
    mixed = [Node(4.0, 64 * GIB, (Gpu(80 * GIB, "large"), Gpu(2 * GIB, "small")))]
    assert pool(mixed, shards=1).device_blocks < 8
    assert pool([*mixed, node(4, 64, n_gpus=1)], shards=1).device_blocks == 0, "the memory of one is unknown"


def test_nodes_without_cpus_or_without_accelerators_are_skipped() -> None:
    assert pool([node(0, 64), node(2, 64)]).n_workers == 2
    assert pool([node(16, 64), node(2, 64, n_gpus=1, gpu_bytes=8 * GIB)]).n_workers == 1


def line_of(err: BadInputError) -> dict[str, object]:
    """The section `compute` that a refusal recommends."""
    section = yaml.safe_load(str(err.context["expected"]))["compute"]
    assert isinstance(section, dict), err
    return section


@pytest.mark.parametrize(
    ("nodes", "compute", "changed"),
    [
        ([node(2, 24)], {"memory_gib_per_actor": 0.5}, "memory_gib_per_actor"),
        ([node(2, 24)], {"memory_gib_per_actor": 64}, "memory_gib_per_actor"),
        ([node(2, 24)], {"replicas": 40, "memory_gib_per_actor": 3}, "replicas"),
        ([node(2, 24)], {"gpus_per_actor": 1}, "gpus_per_actor"),
        ([node(2, 5)], {"shards": 8}, "shards"),
        ([node(2, 24)], {"shards": 8, "replicas": 9}, "replicas"),
        ([node(2, 5)], {"shards": 8, "memory_gib_per_actor": 0.1, "replicas": 3}, "memory_gib_per_actor"),
    ],
)
def test_a_refusal_has_a_recipe_line_that_fits(nodes: list[Node], compute: dict[str, object], changed: str) -> None:
    with refused(BadInputError) as caught:
        pool(nodes, **compute)
    better = line_of(caught.value)
    assert better.get(changed) != compute[changed]
    assert pool(nodes, **better).n_workers >= 1


def test_a_model_that_fits_with_no_recipe_line_is_refused_with_the_memory_it_needs() -> None:
    with pytest.raises(BadInputError) as caught:
        pool([node(2, 0.5)])
    found = re.fullmatch(
        r"a machine with ([\d.]+) GiB of free memory for an actor", str(caught.value.context["expected"])
    )
    assert found
    assert pool([node(2, float(found[1]))]).threads >= 1
    with pytest.raises(BadInputError, match="no node"):
        pool([])


SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(1, 4),
        "shards": st.integers(1, 8),
        "memory_gib_per_actor": st.floats(0.5, 8).map(lambda gib: round(gib, 2)),
    },
)
CLUSTERS = st.lists(st.builds(node, st.integers(0, 4), st.floats(0.5, 12)), min_size=1, max_size=3)


@settings(deadline=None, max_examples=25)
@given(CLUSTERS, SECTIONS, st.sampled_from([MANY, (OBSERVE, ORDER), (ORDER,)]))
def test_every_pool_has_room_and_every_shard_fits_its_budget(
    nodes: list[Node], compute: dict[str, object], costs: tuple[JobCost, ...]
) -> None:
    try:
        found = pool(nodes, costs, **compute)
    except BadInputError:
        return
    actor, n = Actor(found.n_cpus, found.n_gpus, found.memory_bytes), found.n_workers * found.n_shards
    coordinators = Coordinators(found.n_workers if found.coordinator_bytes else 0, found.coordinator_bytes)
    assert has_room(nodes, actor, n, coordinators)
    assert found.threads <= max(1, int(found.n_cpus))
    assert PROCESS_BYTES + found.working_bytes < found.memory_bytes
    for key, value in (("replicas", found.n_workers), ("shards", found.n_shards)):
        assert compute.get(key, value) == value
    assert len(found.resident) == found.n_shards
    assert all(blocks >= 1 for blocks in found.resident)


GPU_NODES = st.builds(
    lambda cpus, gib, n_gpus, mib: node(cpus, gib, n_gpus=n_gpus, gpu_bytes=mib * MIB),
    st.integers(1, 4),
    st.floats(0.5, 12),
    st.integers(0, 3),
    st.integers(0, 4096),
)


@settings(deadline=None, max_examples=25)
@given(st.lists(GPU_NODES, min_size=1, max_size=2), st.sampled_from(["auto", 0, 0.5, 1, 2]))
def test_every_pool_with_accelerators_is_one_that_the_loader_can_load(nodes: list[Node], gpus: float | str) -> None:
    try:
        found = pool(nodes, gpus_per_actor=gpus)
    except BadInputError:
        return
    assert has_room(nodes, Actor(found.n_cpus, found.n_gpus, found.memory_bytes), found.n_workers * found.n_shards)
    assert 1 <= found.model_threads <= found.threads
    assert found.accelerators.n_devices == found.n_gpus
    smallest = min(gpu.memory_bytes for one in nodes if one.n_gpus for gpu in one.gpus) if found.n_gpus else 0
    memory = [DeviceMemory(smallest, smallest)] * math.ceil(found.n_gpus)
    rooms = found.accelerators.weight_rooms(memory, weight_bytes=1)
    spans = plan_spans(found.n_blocks, found.n_shards)
    placements = [place_parts(SIZES, span, rooms) for span in spans]
    assert sum(placed.n_blocks for placed in placements) >= found.device_blocks
    for span, placed, n_resident in zip(spans, placements, found.resident, strict=True):
        rest = span[placed.n_blocks :]
        on_host = placed.host_bytes(SIZES, span)
        if found.is_offloaded and rest:
            plan = residency(placed.left_over(SIZES), rest, found.budget)
            assert placed.n_blocks + plan.n_resident + plan.window >= n_resident
        else:
            assert PROCESS_BYTES + found.working_bytes + on_host <= found.memory_bytes


def with_more_memory(nodes: list[Node], gib: float) -> list[Node]:
    return [replace(one, memory_bytes=one.memory_bytes + int(gib * GIB)) for one in nodes]


def rank(found: Pool) -> tuple[bool, int, int]:
    """What a pool of one actor is chosen by: the whole model in memory, then threads, then blocks in memory."""
    return not found.is_offloaded, found.threads, sum(found.resident)


@settings(deadline=None, max_examples=25)
@given(CLUSTERS, st.floats(0.1, 4))
@example([Node(4.0, 1692253788), Node(2.0, 2169418378)], 0.2081341783854048)
def test_more_memory_never_makes_a_worse_pool(nodes: list[Node], more: float) -> None:
    try:
        before = pool(nodes, shards=1, replicas=1)
    except BadInputError:
        return
    assert rank(pool(with_more_memory(nodes, more), shards=1, replicas=1)) >= rank(before)


@settings(deadline=None, max_examples=25)
@given(st.builds(node, st.integers(1, 4), st.floats(0.5, 12)), st.floats(0.1, 4))
def test_more_memory_of_one_node_never_makes_a_pool_of_fewer_blocks_in_memory(alone: Node, more: float) -> None:
    try:
        before = pool([alone], shards=1, replicas=1)
    except BadInputError:
        return
    assert sum(pool(with_more_memory([alone], more), shards=1, replicas=1).resident) >= sum(before.resident)


def test_an_offloaded_model_goes_to_the_node_with_more_cpus_once_it_fits_there() -> None:
    assert pool([node(2, 2.1), node(4, 1.57)], shards=1, replicas=1).threads == 2
    found = pool([node(2, 2.1), node(4, 1.8)], shards=1, replicas=1)
    assert (found.threads, found.is_offloaded) == (4, True)
