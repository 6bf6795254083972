"""Assignment of actors to nodes: replicas are packed, and no resource is given away twice."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError
from mlprune.plan.node_assignment import NodeLoad, assign_actors
from mlprune.plan.node_capacity import Gpu, Node
from mlprune.plan.pool import GIB, Pool
from mlprune.plan.pool_planning import plan_pool
from mlprune.recipe import ComputeConfig
from mlprune.steps.job_cost import JobCost
from tests.mlprune.plan.test_pool_planning import MIB, SIZES


def pool(n_workers: int, n_shards: int, *, n_gpus: float = 0.0, coordinator_gib: int = 0) -> Pool:
    """A pool whose actors have two CPUs and 4 GiB."""
    return Pool(
        n_workers,
        n_shards,
        2.0,
        n_gpus,
        threads=2,
        model_threads=2,
        memory_bytes=4 * GIB,
        working_bytes=GIB,
        coordinator_bytes=coordinator_gib * GIB,
        resident=(2,) * n_shards,
        n_blocks=2 * n_shards,
    )


def node(gib: int, *, n_cpus: float = 8.0, n_gpus: int = 0) -> Node:
    return Node(n_cpus, gib * GIB, (Gpu(16 * GIB),) * n_gpus)


def counts(loads: list[NodeLoad]) -> list[tuple[int, int]]:
    return [(load.n_replicas, load.n_other_shards) for load in loads]


def test_replicas_of_one_shard_fill_the_nodes_in_order() -> None:
    assert counts(assign_actors(pool(3, 1), [node(8), node(4), node(8)])) == [(2, 0), (1, 0), (0, 0)]


def test_a_replica_is_on_one_node_if_one_has_room() -> None:
    assert counts(assign_actors(pool(2, 2), [node(4), node(8), node(12)])) == [(0, 0), (1, 0), (1, 0)]


def test_a_replica_without_such_a_node_is_on_as_few_as_possible() -> None:
    loads = assign_actors(pool(1, 3), [node(4), node(8), node(4)])
    assert counts(loads) == [(0, 1), (0, 2), (0, 0)]
    assert [load.memory_bytes(pool(1, 3)) for load in loads] == [4 * GIB, 8 * GIB, 0]


def test_nodes_without_accelerators_or_cpus_have_no_actor() -> None:
    shared = pool(4, 1, n_gpus=0.5)
    loads = assign_actors(shared, [node(64), node(64, n_cpus=0, n_gpus=4), node(64, n_gpus=2)])
    assert counts(loads) == [(0, 0), (0, 0), (4, 0)]
    assert [load.n_gpus(shared) for load in loads] == [0, 0, 2]


def test_the_worker_of_a_replica_is_where_memory_is_left() -> None:
    sharded = pool(1, 2, coordinator_gib=3)
    loads = assign_actors(sharded, [node(9), node(2), node(3)])
    assert [load.n_coordinators for load in loads] == [0, 0, 1]


def test_workers_that_fit_only_if_actors_fill_the_first_nodes_have_room() -> None:
    sharded = pool(2, 2, coordinator_gib=4)
    nodes = [node(12, n_cpus=6), node(12, n_cpus=6)]
    loads = assign_actors(sharded, nodes)
    assert sum(load.n_coordinators for load in loads) == 2
    assert all(load.memory_bytes(sharded) <= load.node.memory_bytes for load in loads)


SIX_BLOCKS = replace(SIZES, blocks=SIZES.blocks[:6])
JOB = JobCost("observe", flops=1e12, fixed_bytes=128 * MIB, thread_bytes=128 * MIB, runs_model=True)
NODES = st.builds(node, st.integers(1, 12), n_cpus=st.sampled_from([0.0, 1.0, 2.0, 5.0]), n_gpus=st.integers(0, 2))


@settings(max_examples=25, deadline=None)
@given(nodes=st.lists(NODES, min_size=1, max_size=4), n_jobs=st.integers(1, 6), gpus=st.sampled_from([0, 0.5, 1]))
def test_every_planned_pool_can_be_assigned(nodes: list[Node], n_jobs: int, gpus: float) -> None:
    try:
        planned = plan_pool(ComputeConfig(gpus_per_actor=gpus), SIX_BLOCKS, nodes, costs=[JOB] * n_jobs)
    except BadInputError:
        return
    loads = assign_actors(planned, nodes)
    assert sum(load.n_actors(planned) for load in loads) == planned.n_actors
    assert sum(load.n_coordinators for load in loads) == (planned.n_workers if planned.coordinator_bytes else 0)
    for load in loads:
        assert load.n_actors(planned) * planned.n_cpus <= load.node.n_cpus + 1e-3
        assert load.n_gpus(planned) <= load.node.n_gpus
        assert load.memory_bytes(planned) <= load.node.memory_bytes
