"""The pool of a run."""

from dataclasses import replace

import pytest

from mlprune.models.placement.budget import MemoryBudget
from mlprune.plan.pool import GROUPS_IN_FLIGHT, OFFLOADED_GROUPS_IN_FLIGHT
from tests.ray_jobs.workers.pools import TWO_SHARDS


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
