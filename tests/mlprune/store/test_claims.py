"""Claims of other runs: when they are stale, and whose they are."""

import json
import logging
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from mlprune.errors import StoreError
from mlprune.processes.job_parts import JobParts, RunningParts
from mlprune.processes.process_identity import this_process
from mlprune.store import claims as claims_module
from mlprune.store.claims import Claims, SeenClaims, claim_path, parse_claim, read_claim
from mlprune.store.store import Store
from tests.ended_processes import ended_process
from tests.object_store import BUCKET, ObjectStoreServer
from tests.records import made_up_record

KEY = ("variants", "v")


def claim(n: int, **changes: object) -> bytes:
    return json.dumps({"owner": "run 1", "process": this_process(), "stale_after_s": 5.0, "n": n, **changes}).encode()


def test_a_claim_is_stale_if_it_does_not_change_for_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    seen = SeenClaims(1.0)
    assert not seen.is_stale(KEY, claim(1))
    now += 4
    assert not seen.is_stale(KEY, claim(2))
    now += 4
    assert not seen.is_stale(KEY, claim(2))
    now += 2
    assert seen.is_stale(KEY, claim(2))
    assert not seen.is_stale(KEY, claim(3))


def test_an_unreadable_claim_is_stale_after_the_readers_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    seen = SeenClaims(1.0)
    assert not seen.is_stale(KEY, b"{")
    assert seen.owner_of(KEY) == "another run"
    now += 1.5
    assert seen.is_stale(KEY, b"{")


def test_the_claim_of_a_process_that_has_ended_is_stale_at_once() -> None:
    namespace, pid, start = str(this_process()).split("/")
    assert not SeenClaims(60.0).is_stale(KEY, claim(1))
    assert SeenClaims(60.0).is_stale(KEY, claim(1, process=f"{namespace}/{pid}/{start}0"))


def test_the_owner_is_known_until_the_claim_is_forgotten() -> None:
    seen = SeenClaims(1.0)
    seen.is_stale(KEY, claim(1))
    assert seen.owner_of(KEY) == "run 1"
    seen.forget(KEY)
    assert seen.owner_of(KEY) == "another run"
    assert parse_claim(b"[]") == {}


RECORD = made_up_record("masks")
CLAIMS_KEY = ("masks", RECORD.id)
PATIENCE_S = 300.0


@pytest.fixture
def remote(server: ObjectStoreServer) -> Store:
    return Store(f"s3://{BUCKET}/store")


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def write_foreign_claim(
    store: Store, *, stale_after_s: object = 0.3, process: object = "elsewhere/1/1", key: tuple = CLAIMS_KEY
) -> None:
    """Write a claim of a run on another machine."""
    claim = {"owner": "their run", "process": process, "stale_after_s": stale_after_s, "n": time.monotonic()}
    store.write_bytes(claim_path(*key), json.dumps(claim).encode())


def claimed(store: Store) -> list[str]:
    return store.list("claims")


def test_a_claim_has_one_owner_and_is_removed_at_the_end(store: Store) -> None:
    with Claims(store, "first") as first:
        assert first.take(CLAIMS_KEY)
        assert first.take(CLAIMS_KEY)
        with Claims(store, "second") as second:
            assert not second.take(CLAIMS_KEY)
            assert second.owner_of(CLAIMS_KEY) == "first"
            assert second.take(("masks", "a2"))
            first.release(CLAIMS_KEY)
            until(lambda: second.take(CLAIMS_KEY))
            assert claimed(store) == ["claims/masks/a2.json", claim_path(*CLAIMS_KEY)]
            assert not first.take(CLAIMS_KEY)
    assert claimed(store) == []


def test_a_released_claim_can_be_taken_again_at_once(store: Store) -> None:
    with Claims(store, "first") as first:
        for _ in range(20):
            assert first.take(CLAIMS_KEY)
            first.release(CLAIMS_KEY)
            assert first.take(CLAIMS_KEY)
        with Claims(store, "second") as second:
            assert not second.take(CLAIMS_KEY)


def test_in_a_folder_one_of_many_concurrent_takers_gets_the_claim(local: Store) -> None:
    barrier, takers = threading.Barrier(8), []

    def take(number: int) -> None:
        claims = Claims(local, f"run {number}")
        barrier.wait()
        if claims.take(CLAIMS_KEY):
            takers.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(takers) == 1


@pytest.mark.thorough("writes and reads many records")
def test_a_renewed_claim_is_not_taken_over(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(claims_module, "time", clock)
    with Claims(store, "first", stale_after_s=2.0) as first, Claims(store, "second") as second:
        assert first.take(CLAIMS_KEY)
        for _ in range(3):  # after each renewal, the second run waits for almost the stated time
            data = store.read_file(claim_path(*CLAIMS_KEY))
            assert not second.take(CLAIMS_KEY)
            clock.now += 1.9
            until(lambda data=data: store.read_file(claim_path(*CLAIMS_KEY)) != data)


def test_a_claim_that_is_not_renewed_is_taken_over_after_the_time_its_owner_stated(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    write_foreign_claim(store)
    with caplog.at_level(logging.WARNING), Claims(store, "ours") as ours:
        asked_at = time.monotonic()
        assert not ours.take(CLAIMS_KEY)
        assert ours.owner_of(CLAIMS_KEY) == "their run"
        until(lambda: ours.take(CLAIMS_KEY))
        assert time.monotonic() - asked_at > 0.3
        assert "their run stopped renewing its claim" in caplog.text
        with Claims(store, "third") as third:
            assert not third.take(CLAIMS_KEY)
    assert claimed(store) == []


def test_every_renewal_restarts_the_time(local: Store) -> None:
    ours = Claims(local, "ours")
    give_up = time.monotonic() + 1.0
    while time.monotonic() < give_up:
        write_foreign_claim(local)
        assert not ours.take(CLAIMS_KEY)
        time.sleep(0.05)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"stale_after_s": "long", "process": 7}'])
def test_an_unreadable_claim_is_stale_after_the_readers_own_time(local: Store, content: bytes) -> None:
    local.write_bytes(claim_path(*CLAIMS_KEY), content)
    ours = Claims(local, "ours", stale_after_s=0.3)
    assert not ours.take(CLAIMS_KEY)
    until(lambda: ours.take(CLAIMS_KEY))


def test_the_claim_of_an_ended_process_of_this_machine_is_taken_over_at_once(local: Store) -> None:
    ours = Claims(local, "ours")
    write_foreign_claim(local, process=this_process(), stale_after_s=60)
    assert not ours.take(CLAIMS_KEY)
    write_foreign_claim(local, process=ended_process(), stale_after_s=60)
    assert ours.take(CLAIMS_KEY)


def test_a_claim_that_another_run_took_over_is_neither_renewed_nor_removed(store: Store) -> None:
    with Claims(store, "slow", stale_after_s=0.4) as slow:
        assert slow.take(CLAIMS_KEY)
        write_foreign_claim(store)
        data = store.read_file(claim_path(*CLAIMS_KEY))
        time.sleep(0.5)
        slow.release(CLAIMS_KEY)
        time.sleep(0.1)
    assert store.read_file(claim_path(*CLAIMS_KEY)) == data


def test_claims_of_killed_runs_on_existing_records_are_removed_at_the_end(local: Store) -> None:
    write_foreign_claim(local)
    write_foreign_claim(local, key=("masks", "unmade"))
    local.write_record(RECORD)
    with Claims(local, "ours"):
        pass
    assert claimed(local) == ["claims/masks/unmade.json"]


def test_a_run_that_is_alone_in_an_object_store_needs_one_request_per_claim(
    remote: Store, server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims_module, "PEER_CHECK_S", 0.05)
    with Claims(remote, "ours") as ours:
        assert ours.may_have_peers
        until(lambda: not ours.may_have_peers)
        ours._checks_for_peers = False  # so that the requests of `take` can be counted
        time.sleep(0.2)
        server.requests.clear()
        assert ours.take(CLAIMS_KEY)
        assert server.requests == [f"PUT store/{claim_path(*CLAIMS_KEY)}"]


def test_another_run_in_an_object_store_is_detected(remote: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_module, "PEER_CHECK_S", 0.05)
    with Claims(remote, "ours") as ours:
        assert ours.take(("masks", "own"))
        until(lambda: not ours.may_have_peers)
        time.sleep(0.3)
        assert not ours.may_have_peers
        write_foreign_claim(remote, stale_after_s=60)
        until(lambda: ours.may_have_peers)
        assert not ours.take(CLAIMS_KEY)
        time.sleep(0.3)
        assert ours.may_have_peers


@pytest.mark.thorough("writes and reads many records")
def test_two_runs_that_start_together_in_an_object_store_do_not_overwrite_claims(remote: Store) -> None:
    with Claims(remote, "first") as first, Claims(remote, "second") as second:
        for number in range(10):
            key = ("masks", str(number))
            assert first.take(key)
            assert not second.take(key)


def test_a_claim_overwritten_by_another_run_is_noticed(remote: Store) -> None:
    with Claims(remote, "alone", stale_after_s=0.4) as alone:
        until(lambda: not alone.may_have_peers)
        assert alone.take(CLAIMS_KEY)
        write_foreign_claim(remote, stale_after_s=60)
        until(lambda: alone.may_have_peers)


@pytest.mark.parametrize("fails", ["write_if_absent", "read_file"])
def test_a_store_that_refuses_claims_is_used_without_them_and_reported_once(
    local: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: str
) -> None:
    def refuse(*_: object) -> None:
        raise (
            PermissionError("read only")
            if fails == "write_if_absent"
            else StoreError("the object store refuses the request")
        )

    write_foreign_claim(local)
    monkeypatch.setattr(local, fails, refuse)
    with caplog.at_level(logging.WARNING), Claims(local, "ours") as ours:
        for number in range(3):
            assert ours.take(CLAIMS_KEY)
            assert ours.take(("masks", str(number)))
        ours.release(CLAIMS_KEY)
    assert caplog.text.count("claims cannot be written") == 1


def test_a_claims_folder_that_cannot_be_written_stops_nothing(local: Store, caplog: pytest.LogCaptureFixture) -> None:
    local.write_bytes("claims", b"a file where the folder should be")
    with caplog.at_level(logging.WARNING), Claims(local, "ours") as ours:
        assert ours.take(CLAIMS_KEY)
        assert ours.take(("masks", "a2"))
    assert caplog.text.count("claims cannot be written") == 1


def test_claims_are_not_records(store: Store) -> None:
    with Claims(store, "ours") as ours:
        assert ours.take(CLAIMS_KEY)
        assert store.record_names() == []
        assert not store.has_record(*CLAIMS_KEY)


def test_a_claim_is_written_again_when_parts_of_its_job_have_finished(
    local: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims_module, "PARTS_S", 0.01)
    n_done = 0

    def parts() -> RunningParts:
        return {CLAIMS_KEY: JobParts("sweep", "block", n_done, 4, n_done / 4)} if n_done else {}

    def claimed_parts() -> JobParts | None:
        return JobParts.parse(read_claim(local, claim_path(*CLAIMS_KEY)).get("parts"))

    with Claims(local, "ours", parts=parts) as ours:
        assert ours.take(CLAIMS_KEY)
        assert claimed_parts() is None
        for n_done in (1, 2):
            until(lambda n_done=n_done: (found := claimed_parts()) is not None and found.n_done == n_done)
        n_written = read_claim(local, claim_path(*CLAIMS_KEY))["n"]
        time.sleep(0.1)
        assert read_claim(local, claim_path(*CLAIMS_KEY))["n"] == n_written  # no news, no write
