"""A chain of shard actors: the same results as in one process, and a bounded number of batches in flight."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.local_chain import load_shard, local_chain
from mlprune.models.messages import TokenBatch
from mlprune.models.placement.budget import GroupLimit
from mlprune.models.shard import Shard
from mlprune.plan.resources.node_capacity import GROUPS_IN_FLIGHT, OFFLOADED_GROUPS_IN_FLIGHT
from ray_jobs.workers import ray_failures
from ray_jobs.workers.ray_chain import RayChain
from tests.ray_jobs.workers.fake_ray import Actor, get
from tests.tiny_models import save_tiny_model


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_failures.ray, "get", get)


@dataclass
class CallingShard:
    """The part of a shard actor that a chain uses, around a shard in this process."""

    shard: Any

    def call(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self.shard, *args, **kwargs)


def batches(n: int) -> list[TokenBatch]:
    mask = torch.ones(2, 5, dtype=torch.bool)
    return [TokenBatch(torch.full((2, 5), 3 + number), mask, mask) for number in range(n)]


def test_results_and_their_order_are_those_of_a_chain_in_one_process(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path, "gpt2", seed=4)
    spans = (range(1), range(1, 3))
    actors = [Actor(CallingShard(load_shard(folder, span, n_blocks=3, dtype="float32"))) for span in spans]
    chain = RayChain(actors, spans, 3, threads=2)
    results = list(chain.stream(StatisticsVisitor, batches(5)))
    expected = list(local_chain(folder).stream(StatisticsVisitor, batches(5)))
    assert len(results) == len(expected) == 5
    for result, reference in zip(results, expected, strict=True):
        assert result.sums.keys() == reference.sums.keys()
        assert all(torch.equal(result.sums[key], reference.sums[key]) for key in reference.sums)


class CountingShard:
    """A shard of one block that counts the calls of `finish` and the visitors in each."""

    def __init__(self, limit: GroupLimit | None = None) -> None:
        self.limit = limit
        self.group_sizes: list[int] = []

    def call(self, method: Any, *args: Any) -> Any:
        if method is Shard.group_limit:
            return self.limit
        if method is Shard.finish:
            self.group_sizes.append(len(args[0]))
            return [message.visitor for message in args[0]]
        return args


class FakeVisitor:
    """A visitor of one byte, which is its own result."""

    def __init__(self, item: int) -> None:
        self.item = item

    def leave_shard(self) -> None:
        pass

    def waiting_bytes(self, _: GroupLimit) -> int:
        return 1


def items_drawn_before_the_first_result(chain: RayChain) -> int:
    n_drawn = 0

    def items() -> Iterator[int]:
        nonlocal n_drawn
        for number in range(1000):
            n_drawn += 1
            yield number

    next(iter(chain.stream(FakeVisitor, items())))  # type: ignore[arg-type, type-var]
    return n_drawn


@pytest.mark.parametrize("threads", [1, 3])
def test_a_group_has_a_batch_per_thread_and_few_groups_are_in_flight(threads: int) -> None:
    shard = CountingShard()
    chain = RayChain([Actor(shard)], (range(1),), 1, threads=threads)
    assert items_drawn_before_the_first_result(chain) == GROUPS_IN_FLIGHT * threads
    assert shard.group_sizes == [threads] * GROUPS_IN_FLIGHT


def test_groups_of_offloaded_blocks_are_bounded_by_their_size() -> None:
    limit = GroupLimit(per_token=1, per_row=1, per_input=1, n_bytes=5)
    shard = CountingShard(limit)
    chain = RayChain([Actor(shard)], (range(1),), 1, threads=1)
    items_drawn_before_the_first_result(chain)
    assert shard.group_sizes == [5] * OFFLOADED_GROUPS_IN_FLIGHT


def test_a_call_reaches_the_shard_that_holds_the_block() -> None:
    shards = [CountingShard(), CountingShard()]
    chain = RayChain([Actor(shard) for shard in shards], (range(2), range(2, 3)), 3)

    def own(shard: Any) -> Any:
        return shard

    for shard in shards:
        shard.call = partial(lambda this, method: method(this), shard)  # type: ignore[method-assign]
    assert [chain.on_block(block, own) for block in range(3)] == [shards[0], shards[0], shards[1]]
    assert chain.everywhere(own) == shards
