"""A sequential sweep that several replicas share gives the bytes of one replica, whichever join, leave or are lost."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import WorkerLostError
from mlprune.models.chain import Chain, Replica
from mlprune.models.local_chain import local_chain
from mlprune.models.replicated_chain import ReplicatedChain
from mlprune.models.shard import Shard
from tests.chains import WatchedChain
from tests.local_replica import LocalOffer, LocalReplica, shared
from tests.mlprune.steps.prune.test_sweep import assert_same_files, sweep_of, with_sets_only
from tests.tiny_recipes import FinishedRun, contents, copy_of

N_PREPARING = 2
"""Tasks of a replica that joins: it loads the model and makes it dense."""
SMALL_BATCH = 32


def chains(run: FinishedRun, n: int, *, n_shards: int = 1) -> list[WatchedChain]:
    return [WatchedChain(local_chain(Path(run.plan.model.path), n_shards=n_shards)) for _ in range(n)]


def observed(replica: WatchedChain) -> list[int]:
    """The blocks that a replica has observed."""
    return sorted(set(replica.blocks_of(Shard.sweep_observe)))


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("name", "n_replicas", "n_shards"), [("mean", 2, 1), ("contrast", 3, 2), ("owl", 2, 3)])
def test_replicas_that_share_a_sweep_change_no_byte(
    method_run: FinishedRun, tmp_path: Path, name: str, n_replicas: int, n_shards: int
) -> None:
    job = sweep_of(method_run, name)
    assert job.shares_replicas
    store = with_sets_only(method_run, tmp_path / "store")
    first, *others = chains(method_run, n_replicas, n_shards=n_shards)
    replicas = [LocalReplica(chain) for chain in others]
    job.run(store, lambda: shared(first, replicas))
    assert_same_files(store, method_run.store, job)
    assert [observed(chain) for chain in (first, *others)] == [[0, 1, 2]] * n_replicas


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("lost_after", [1, 5, 9])
def test_a_lost_replica_costs_only_the_block_that_runs(
    method_run: FinishedRun, tmp_path: Path, lost_after: int
) -> None:
    job = sweep_of(method_run, "mean")
    store = with_sets_only(method_run, tmp_path / "store")
    first, second, third = chains(method_run, 3)
    lost = LocalReplica(second, lost_after=lost_after, error=WorkerLostError("killed"))
    job.run(store, lambda: shared(first, [lost, LocalReplica(third)]))
    assert_same_files(store, method_run.store, job)
    n_observations = sum(method == Shard.sweep_observe for method, _ in third.calls)
    assert n_observations in (3, 4)
    assert len(observed(second)) < 3


def test_a_killed_sweep_resumes_with_other_replicas(method_run: FinishedRun, tmp_path: Path) -> None:
    job = sweep_of(method_run, "contrast")
    store = with_sets_only(method_run, tmp_path / "store")
    first, second, third, fourth = chains(method_run, 4)
    with pytest.raises(WorkerLostError):
        job.run(store, lambda: WatchedChain(shared(first, [LocalReplica(second)]), stop_at=1))
    job.run(store, lambda: shared(third, [LocalReplica(fourth)]))
    assert observed(fourth) == [1, 2]
    assert_same_files(store, method_run.store, job)


def test_a_sweep_with_gram_matrices_is_not_shared(method_run: FinishedRun) -> None:
    assert not sweep_of(method_run, "sparsegpt").shares_replicas


class ChangingOffer(LocalOffer):
    """Replicas that join, leave and are lost at random."""

    def __init__(self, chains: Sequence[Chain], *, seed: int) -> None:
        super().__init__([LocalReplica(chain, error=WorkerLostError("killed")) for chain in chains[:1]])
        self._draw = random.Random(seed)
        self._free = list(chains[1:])
        self.events: Counter[str] = Counter()

    def change(self) -> None:
        """Change the replicas, and let most of them finish their tasks."""
        for replica in self.offered:
            if self._draw.random() < 0.9:
                replica.run_all()
        for event in self._draw.choices(["join", "leave", "lose"], weights=[3, 2, 1], k=2):
            if event == "join" and self._free:
                self.offered.append(LocalReplica(self._free.pop(0), error=WorkerLostError("killed")))
            elif event != "join" and self.offered:
                replica = self._draw.choice(self.offered)
                if event == "leave":
                    self.offered.remove(replica)
                else:
                    replica.lost_after = replica.n_tasks + self._draw.randrange(2)

    def give_back(self, replica: Replica) -> None:
        assert isinstance(replica, LocalReplica)
        self.events["left" if replica.lost_after is None else "lost"] += 1
        self.events["moved"] += replica.n_tasks > N_PREPARING
        super().give_back(replica)
        replica.waiting.clear()
        self._free.append(replica.chain)


class ChangingChain(WatchedChain):
    """A chain whose other replicas change with every call."""

    def __init__(self, inner: ReplicatedChain, offer: ChangingOffer) -> None:
        super().__init__(inner)
        self._offer = offer

    def on_block(self, block: int, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if method in (Shard.sweep_observe, Shard.sweep_prune, Shard.sweep_advance):
            self._offer.change()
        return super().on_block(block, method, *args, **kwargs)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("name", "n_shards"), [("contrast", 1), ("mean", 2)])
def test_replicas_that_join_leave_and_are_lost_at_random_change_no_byte(
    method_run: FinishedRun, tmp_path: Path, name: str, n_shards: int
) -> None:
    job = replace(sweep_of(method_run, name), batch_tokens=SMALL_BATCH)
    sets_only = with_sets_only(method_run, tmp_path / "sets")
    first, *others = chains(method_run, 4, n_shards=n_shards)
    serial = copy_of(sets_only, tmp_path / "serial")
    job.run(serial, lambda: first)
    events: Counter[str] = Counter()
    for seed in range(4):
        offer = ChangingOffer(others, seed=seed)
        store = copy_of(sets_only, tmp_path / str(seed))
        job.run(store, lambda offer=offer: ChangingChain(ReplicatedChain(first, offer, group_size=1), offer))
        assert contents(store) == contents(serial)
        events += offer.events
    assert min(events["left"], events["lost"], events["moved"]) >= 2, events
