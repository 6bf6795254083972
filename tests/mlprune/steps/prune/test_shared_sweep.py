"""A sequential sweep that several replicas share gives the bytes of one replica, also after a replica was lost."""

from pathlib import Path

import pytest

from mlprune.errors import WorkerLostError
from mlprune.models.local_chain import local_chain
from mlprune.models.replicas.replicated_chain import ReplicatedChain
from mlprune.models.shard import Shard
from tests.local_replica import LocalReplica
from tests.mlprune.steps.prune.test_sweep import WatchedChain, assert_same_files, sweep_of, with_sets_only
from tests.tiny_recipes import FinishedRun


def chains(run: FinishedRun, n: int, *, n_shards: int = 1) -> list[WatchedChain]:
    return [WatchedChain(local_chain(Path(run.plan.model.path), n_shards=n_shards)) for _ in range(n)]


def observed(replica: WatchedChain) -> list[int]:
    """The blocks that a replica has observed."""
    return sorted(replica.blocks_of(Shard.sweep_observe))


@pytest.mark.parametrize(("name", "n_replicas", "n_shards"), [("mean", 2, 1), ("contrast", 3, 2), ("owl", 2, 3)])
def test_replicas_that_share_a_sweep_change_no_byte(
    method_run: FinishedRun, tmp_path: Path, name: str, n_replicas: int, n_shards: int
) -> None:
    job = sweep_of(method_run, name)
    assert job.shares_replicas
    store = with_sets_only(method_run, tmp_path / "store")
    first, *others = chains(method_run, n_replicas, n_shards=n_shards)
    replicas = [LocalReplica(chain) for chain in others]
    job.run(store, lambda: ReplicatedChain(first, replicas, group_size=1))
    assert_same_files(store, method_run.store, job)
    assert [observed(chain) for chain in (first, *others)] == [[0, 1, 2]] * n_replicas


@pytest.mark.parametrize(("lost_after", "finished"), [(4, 0), (5, 1), (10, 2)])
def test_a_sweep_that_lost_a_replica_resumes_with_fewer_at_its_last_finished_block(
    method_run: FinishedRun, tmp_path: Path, lost_after: int, finished: int
) -> None:
    job = sweep_of(method_run, "mean")
    store = with_sets_only(method_run, tmp_path / "store")
    first, second, third = chains(method_run, 3)
    lost = LocalReplica(second, lost_after=lost_after, error=WorkerLostError("killed"))
    with pytest.raises(WorkerLostError):
        job.run(store, lambda: ReplicatedChain(first, [lost, LocalReplica(third)], group_size=1))
    assert len(store.record_names("mask_blocks")) == finished
    again = chains(method_run, 1)
    job.run(store, lambda: ReplicatedChain(first, [LocalReplica(again[0])], group_size=1))
    assert observed(again[0]) == list(range(finished, 3))
    assert_same_files(store, method_run.store, job)


def test_a_sweep_with_gram_matrices_is_not_shared(method_run: FinishedRun) -> None:
    assert not sweep_of(method_run, "sparsegpt").shares_replicas
