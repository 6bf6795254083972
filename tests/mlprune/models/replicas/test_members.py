"""Replicas that join, leave and are lost."""

import pytest

from mlprune.errors import StatisticsError, WorkerLostError
from mlprune.models.chain import Chain
from mlprune.models.replicas.members import Members
from tests.local_replica import LocalOffer, LocalReplica


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
