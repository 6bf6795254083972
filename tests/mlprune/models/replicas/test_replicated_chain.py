"""Several replicas as one chain, with replicas in this process."""

from functools import partial
from pathlib import Path

import pytest
import torch

from mlprune.errors import WorkerLostError
from mlprune.models.chain import Chain
from mlprune.models.inference.observation import Observation, StatisticsVisitor
from mlprune.models.local_chain import LocalChain, local_chain
from mlprune.models.replicas.replicated_chain import GROUPS_AHEAD, ReplicatedChain
from mlprune.models.shard import Shard
from tests.chains import text_batch
from tests.local_replica import LocalReplica, replicated
from tests.tiny_models import save_tiny_model

BATCHES = [text_batch(rows) for rows in ([0, 1], [2], [3], [1, 3], [0], [2, 1], [3, 0], [1], [0, 2])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("replicas"), "gpt2", seed=3)


def replicas_of(folder: Path, n: int, *, n_shards: int = 1) -> list[LocalChain]:
    return [local_chain(folder, n_shards=n_shards) for _ in range(n)]


def bits(observation: Observation) -> dict[tuple[int, str], bytes]:
    return {key: values.numpy().tobytes() for key, values in observation.sums.items()}


@pytest.mark.parametrize(("n_replicas", "group_size"), [(2, 1), (2, 2), (3, 1), (12, 1), (2, 20), (2, None)])
def test_results_are_those_of_one_replica_in_the_order_of_the_items(
    folder: Path, n_replicas: int, group_size: int | None
) -> None:
    one, *_ = chains = replicas_of(folder, n_replicas)
    expected = [bits(result) for result in one.stream(StatisticsVisitor, BATCHES)]
    together = replicated(chains, group_size=group_size)
    assert [bits(result) for result in together.stream(StatisticsVisitor, iter(BATCHES))] == expected
    assert list(together.stream(StatisticsVisitor, [])) == []


def test_the_items_are_divided_evenly_by_their_tokens_and_sent_a_few_at_a_time(folder: Path) -> None:
    first, second = replicas_of(folder, 2)
    other = LocalReplica(second)
    results = ReplicatedChain(first, [other], group_size=1).stream(StatisticsVisitor, BATCHES * 3)
    next(results)
    assert len(other.waiting) == GROUPS_AHEAD
    assert len(list(results)) == 3 * len(BATCHES) - 1
    assert 11 <= other.n_tasks <= 16


def test_an_error_of_another_replica_is_raised_in_place_of_its_result(folder: Path) -> None:
    first, second = replicas_of(folder, 2)
    lost = LocalReplica(second, lost_after=1, error=WorkerLostError("killed"))
    results = ReplicatedChain(first, [lost], group_size=1).stream(StatisticsVisitor, BATCHES)
    assert len([next(results), next(results)]) == 2
    with pytest.raises(WorkerLostError):
        list(results)


def keys_with_states(chain: Chain, keys: list[int]) -> list[int]:
    """The keys whose batches of a sweep a chain has; they are removed."""
    present = []
    for key in keys:
        try:
            chain.on_block(0, Shard.sweep_release, key)
        except KeyError:
            continue
        present.append(key)
    return present


def started(folder: Path, *, n_replicas: int) -> tuple[ReplicatedChain, list[LocalChain], list[int]]:
    chains = replicas_of(folder, n_replicas)
    together = replicated(chains)
    for key, batch in enumerate(BATCHES):
        together.on_block(0, Shard.sweep_start, key, batch)
    return together, chains, list(range(len(BATCHES)))


def share(chain: Chain, keys: list[int]) -> tuple[list[int], list[int]]:
    return list(keys), keys_with_states(chain, list(range(len(BATCHES))))


def test_every_replica_gets_the_keys_of_the_batches_that_it_has(folder: Path) -> None:
    together, _, keys = started(folder, n_replicas=3)
    shares = together.on_shares(keys, share)
    assert all(given == present for given, present in shares)
    assert sorted(key for given, _ in shares for key in given) == keys
    assert len(shares) == 3


def test_a_replica_without_batches_is_not_called(folder: Path) -> None:
    together, _, keys = started(folder, n_replicas=len(BATCHES) + 2)
    assert len(together.on_shares(keys, share)) == len(BATCHES)


def test_a_method_called_everywhere_reaches_all_replicas_and_returns_the_results_of_one(folder: Path) -> None:
    together, chains, keys = started(folder, n_replicas=2)
    assert together.everywhere(Shard.sweep_clear) == [None]
    assert [keys_with_states(chain, keys) for chain in chains] == [[], []]


def n_zeros(chain: Chain, layer: str) -> int:
    return chain.on_block(1, Shard.prune_block, 1, partial(count_zeros, layer=layer))


def count_zeros(weights: dict[str, torch.Tensor], layer: str) -> tuple[dict[str, torch.Tensor], int]:
    return {}, int((weights[layer] == 0).sum())


def test_a_task_for_the_others_does_not_reach_the_replica_that_has_chosen(folder: Path) -> None:
    chains = replicas_of(folder, 3)
    together = replicated(chains)
    assert together.on_others(partial(n_zeros, layer="mlp.c_fc")) == [0, 0]
    assert chains[0].on_others(partial(n_zeros, layer="mlp.c_fc")) == []


def test_an_error_of_a_batch_that_was_sent_without_waiting_is_raised_by_the_next_call(folder: Path) -> None:
    first, second = replicas_of(folder, 2)
    lost = LocalReplica(second, lost_after=0, error=WorkerLostError("killed"))
    together = ReplicatedChain(first, [lost], group_size=1)
    for key, batch in enumerate(BATCHES):
        together.on_block(0, Shard.sweep_start, key, batch)
    with pytest.raises(WorkerLostError):
        together.on_shares(list(range(len(BATCHES))), share)
