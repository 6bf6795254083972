"""Capacity of nodes, compared with trying all placements of actors."""

import itertools
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlprune.models.placement.budget import MemoryBudget
from mlprune.planning.resources.node_capacity import (
    GROUPS_IN_FLIGHT,
    OFFLOADED_GROUPS_IN_FLIGHT,
    Actor,
    Coordinators,
    Gpu,
    Node,
    has_room,
    max_cpus,
    max_memory,
    n_gpu_shares,
)
from tests.ray_jobs.workers.pools import TWO_SHARDS

NODES = st.lists(st.builds(Node, st.integers(0, 4).map(float), st.integers(0, 40)), min_size=1, max_size=3)


def fits(nodes: list[Node], actor: Actor, n: int) -> bool:
    """Whether some way of handing out the actors overloads no node."""
    for counts in itertools.product(range(n + 1), repeat=len(nodes)):
        loads = zip(nodes, counts, strict=True)
        if sum(counts) == n and all(
            k * actor.n_cpus <= node.n_cpus and k * actor.memory_bytes <= node.memory_bytes for node, k in loads
        ):
            return True
    return False


@given(NODES, st.integers(1, 3), st.integers(1, 20), st.integers(1, 4))
def test_actors_fit_if_some_placement_fits(nodes: list[Node], cpus: int, memory: int, n: int) -> None:
    actor = Actor(float(cpus), 0, memory)
    assert has_room(nodes, actor, n) == fits(nodes, actor, n)


@given(NODES, st.integers(1, 5))
def test_the_largest_memory_fits_and_one_more_byte_does_not(nodes: list[Node], n: int) -> None:
    found = max_memory(nodes, Actor(1.0, 0, 0), n)
    if found:
        assert has_room(nodes, Actor(1.0, 0, found), n)
    assert not has_room(nodes, Actor(1.0, 0, found + 1), n)


@given(NODES, st.integers(1, 5))
def test_the_largest_number_of_cpus_fits_and_one_more_does_not(nodes: list[Node], n: int) -> None:
    found = max_cpus(nodes, n)
    plenty = [Node(node.n_cpus, 1) for node in nodes]
    if found:
        assert has_room(plenty, Actor(found, 0, 0), n)
    assert not has_room(plenty, Actor(int(found) + 1.0, 0, 0), n)
    assert bool(found) == any(node.n_cpus for node in nodes)


def test_more_actors_than_cpus_get_a_fraction_each() -> None:
    assert max_cpus([Node(2.0, 1)], 3) == 0.6666
    assert has_room([Node(2.0, 1)], Actor(0.6666, 0, 0), 3)
    assert max_cpus([Node(8.0, 1), Node(2.0, 1)], 5) == 2.0


def test_coordinators_fit_into_the_memory_that_actors_leave_free() -> None:
    nodes = [Node(4.0, 10)]
    assert has_room(nodes, Actor(1.0, 0, 4), 2, Coordinators(2, 1))
    assert not has_room(nodes, Actor(1.0, 0, 4), 2, Coordinators(3, 1))
    assert max_memory(nodes, Actor(1.0, 0, 0), 2, Coordinators(2, 1)) == 4


def test_accelerators_are_shared_in_equal_parts() -> None:
    nodes = [Node(4.0, 1, (Gpu(8),) * 2), Node(4.0, 1, (Gpu(6),))]
    assert [n_gpu_shares(nodes, share) for share in (1, 0.5, 2)] == [3, 6, 1]
    assert has_room(nodes, Actor(1.0, 0.5, 0), 6)
    assert not has_room(nodes, Actor(1.0, 2, 0), 2)


@given(NODES, st.integers(1, 40))
def test_the_cpus_of_an_actor_are_the_largest_offer_that_all_fit_into(nodes: list[Node], n: int) -> None:
    shares = [node.n_cpus / k for node in nodes for k in range(1, n + 1)]
    offers = [float(int(share)) if share >= 1 else round(share - 5e-5, 4) for share in shares]
    plenty = [Node(node.n_cpus, 1) for node in nodes]
    fitting = [cpus for cpus in offers if cpus > 0 and has_room(plenty, Actor(cpus, 0, 0), n)]
    assert max_cpus(nodes, n) == max(fitting, default=0.0)


def test_an_absurd_number_of_actors_is_refused_without_counting_to_it() -> None:
    nodes = [Node(64.0, 2**40)] * 100
    started_at = time.process_time()
    assert max_cpus(nodes, 10**9) == 0.0
    assert max_cpus(nodes, 50_000) == 0.128
    assert time.process_time() - started_at < 2


@pytest.mark.parametrize(
    ("resident", "is_offloaded", "groups_in_flight"),
    [((4, 4), False, GROUPS_IN_FLIGHT), ((4, 3), True, OFFLOADED_GROUPS_IN_FLIGHT)],
)
def test_a_pool_is_offloaded_if_some_blocks_are_not_in_memory(
    resident: tuple[int, ...], is_offloaded: bool, groups_in_flight: int
) -> None:
    pool = replace(TWO_SHARDS, memory_bytes=9, working_bytes=5, resident=resident, n_blocks=8)
    assert (pool.is_offloaded, pool.groups_in_flight) == (is_offloaded, groups_in_flight)
    assert pool.budget == MemoryBudget(9, 5)
