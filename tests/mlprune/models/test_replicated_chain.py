"""Replicas that join, leave and are lost, and batches that move between them."""

import random
from pathlib import Path

import pytest
import torch

from mlprune.errors import StatisticsError, WorkerLostError
from mlprune.models.chain import Chain
from mlprune.models.inference.observation import Observation, StatisticsVisitor
from mlprune.models.local_chain import LocalChain, local_chain
from mlprune.models.replicated_chain import GROUPS_AHEAD, Members, ReplicatedChain
from mlprune.models.shard import Shard
from mlprune.models.shared_sweep import even_moves
from tests.chains import text_batch
from tests.local_replica import LocalOffer, LocalReplica, replicated, shared
from tests.tiny_models import save_tiny_model


class Calls:
    """A chain that is only a list of what was called."""

    def __init__(self) -> None:
        self.names: list[str] = []


class Call:
    """A task that notes its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, chain: Chain) -> str:
        chain.names.append(self._name)  # type: ignore[attr-defined]
        return self._name


def replica(**choices: object) -> LocalReplica:
    return LocalReplica(Calls(), **choices)  # type: ignore[arg-type]


def called(one: LocalReplica) -> list[str]:
    assert isinstance(one.chain, Calls)
    return one.chain.names


def test_a_job_that_cannot_be_shared_has_no_members() -> None:
    members = Members(None)
    assert members.update(wait=True) is False
    members.begin_everywhere(Call("a"))
    assert (members.joined, members.leaving()) == ([], [])


def test_a_replica_joins_when_it_has_prepared_itself() -> None:
    offer = LocalOffer()
    members = Members(offer, [Call("a")])
    members.begin_everywhere(Call("b"))
    offer.offered = [late := replica()]
    assert members.update() is False
    members.begin_everywhere(Call("c"))
    assert members.update() is False
    late.run_all()
    assert members.update() is True
    assert called(late) == ["a", "b", "c"]
    assert [member.replica for member in members.joined] == [late]
    assert members.update() is False


def test_waiting_lets_all_offered_replicas_join_at_once() -> None:
    members = Members(LocalOffer([replica(), replica()]), [Call("a")])
    assert members.update(wait=True) is True
    assert [called(member.replica) for member in members.joined] == [["a"], ["a"]]  # type: ignore[arg-type]


def test_a_replica_that_is_not_offered_any_more_leaves_when_it_is_released() -> None:
    offer = LocalOffer([first := replica(), second := replica()])
    members = Members(offer)
    members.update(wait=True)
    offer.offered = [second]
    (leaving,) = members.leaving()
    assert (leaving.replica, offer.given_back) == (first, [])
    members.release(leaving)
    assert (offer.given_back, members.leaving()) == ([first], [])


def test_a_replica_that_is_withdrawn_before_it_has_joined_is_given_back_at_once() -> None:
    offer = LocalOffer([slow := replica()])
    members = Members(offer)
    members.update()
    offer.offered = []
    members.update()
    assert (offer.given_back, members.joined) == ([slow], [])


def test_a_lost_replica_is_given_back_and_its_result_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    offer = LocalOffer([lost := replica(lost_after=1, error=WorkerLostError("killed"))])
    members = Members(offer)
    members.update(wait=True)
    (member,) = members.joined
    assert members.try_result(member, lost.begin(Call("a"))) == []
    assert (members.joined, offer.given_back, members.update()) == ([], [lost], False)
    assert "killed" in caplog.text


def test_a_replica_that_is_lost_while_it_prepares_itself_does_not_join() -> None:
    offer = LocalOffer([lost := replica(lost_after=0, error=WorkerLostError("killed"))])
    members = Members(offer)
    assert members.update(wait=True) is False
    assert (members.joined, offer.given_back) == ([], [lost])


def test_the_error_of_an_earlier_task_is_raised_by_the_next_result() -> None:
    offer = LocalOffer([broken := replica(lost_after=1, error=StatisticsError("not finite"))])
    members = Members(offer)
    members.update(wait=True)
    (member,) = members.joined
    member.begin(Call("a"))
    with pytest.raises(StatisticsError):
        members.try_result(member, broken.begin(Call("b")))


BATCHES = [text_batch(rows) for rows in ([0, 1], [2], [3], [1, 3], [0], [2, 1], [3, 0], [1], [0, 2])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("replicas"), "gpt2", seed=3)


def replicas_of(folder: Path, n: int, *, n_shards: int = 1) -> list[LocalChain]:
    return [local_chain(folder, n_shards=n_shards) for _ in range(n)]


def bits(observation: Observation) -> dict[tuple[int, str], bytes]:
    return {key: values.numpy().tobytes() for key, values in observation.sums.items()}


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("n_replicas", "group_size"), [(3, 2), (12, 1), (2, 20), (2, None)])
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
    results = shared(first, [other]).stream(StatisticsVisitor, BATCHES * 3)
    next(results)
    assert len(other.waiting) == GROUPS_AHEAD
    assert len(list(results)) == 3 * len(BATCHES) - 1
    assert 11 <= other.n_tasks <= 16


def test_an_error_of_another_replica_is_raised_in_place_of_its_result(folder: Path) -> None:
    first, second = replicas_of(folder, 2)
    broken = LocalReplica(second, lost_after=2, error=StatisticsError("not finite"))
    results = shared(first, [broken]).stream(StatisticsVisitor, BATCHES)
    assert len([next(results), next(results)]) == 2
    with pytest.raises(StatisticsError):
        list(results)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("lost_after", [0, 1, 3])
def test_the_items_of_a_lost_replica_are_computed_by_others(folder: Path, lost_after: int) -> None:
    first, second, third = replicas_of(folder, 3)
    expected = [bits(result) for result in first.stream(StatisticsVisitor, BATCHES)]
    lost = LocalReplica(second, lost_after=lost_after, error=WorkerLostError("killed"))
    offer = LocalOffer([lost, LocalReplica(third)])
    results = ReplicatedChain(first, offer, group_size=1).stream(StatisticsVisitor, BATCHES)
    assert [bits(result) for result in results] == expected
    assert offer.given_back == [lost]


def test_a_replica_may_join_and_leave_while_items_are_streamed(folder: Path) -> None:
    first, second, third = replicas_of(folder, 3)
    batches = BATCHES * 3
    expected = [bits(result) for result in first.stream(StatisticsVisitor, batches)]
    leaving, joining = LocalReplica(second), LocalReplica(third)
    offer = LocalOffer([leaving])
    results = ReplicatedChain(first, offer, group_size=1).stream(StatisticsVisitor, batches)
    found = [bits(next(results))]
    leaving.run_all()
    offer.offered = [joining]
    found.append(bits(next(results)))
    joining.run_all()
    found += [bits(result) for result in results]
    assert found == expected
    assert joining.n_tasks > 5
    assert (leaving.n_tasks <= 8, offer.given_back) == (True, [leaving])


def test_a_method_called_everywhere_is_called_at_replicas_that_join_later(folder: Path) -> None:
    first, second = replicas_of(folder, 2)
    second.everywhere(Shard.set_keep_masks, {(1, "mlp.c_fc"): torch.zeros(64, 16, dtype=torch.bool)})
    offer = LocalOffer()
    together = ReplicatedChain(first, offer, group_size=1)
    assert together.everywhere(Shard.set_keep_masks, None) == [None]
    expected = [bits(result) for result in together.stream(StatisticsVisitor, BATCHES)]
    offer.offered = [LocalReplica(second)]
    assert [bits(result) for result in together.stream(StatisticsVisitor, BATCHES)] == expected
    assert offer.offered[0].n_tasks > 3


def loads_after(held: list[dict[str, int]], moves: dict[tuple[int, int], list[str]]) -> list[int]:
    loads = [sum(keys.values()) for keys in held]
    for (source, target), keys in moves.items():
        for key in keys:
            loads[source] -= held[source][key]
            loads[target] += held[source][key]
    return loads


def test_a_new_replica_gets_half_of_the_tokens() -> None:
    held: list[dict[str, int]] = [{"a": 5, "b": 4, "c": 3, "d": 3, "e": 3}, {}]
    moves = even_moves(held)
    assert set(moves) == {(0, 1)}
    assert loads_after(held, moves) == [9, 9]


def test_nothing_moves_between_replicas_that_are_even() -> None:
    assert even_moves([{"a": 4, "b": 4}, {"c": 8}, {"d": 7}]) == {}
    assert even_moves([{"a": 8}, {}]) == {}
    assert even_moves([{}]) == {}


def test_no_replica_keeps_more_than_its_fair_share_and_one_batch() -> None:
    draw = random.Random(5)
    for _ in range(50):
        n_replicas = draw.randint(2, 5)
        held: list[dict[str, int]] = [{} for _ in range(n_replicas)]
        for number in range(draw.randint(1, 20)):
            held[draw.randrange(n_replicas)][str(number)] = draw.randint(1, 9)
        loads = loads_after(held, even_moves(held))
        assert max(loads) <= sum(loads) / n_replicas + 9
        assert sum(loads) == sum(sum(keys.values()) for keys in held)
        assert even_moves(held) == even_moves([dict(keys) for keys in held])
