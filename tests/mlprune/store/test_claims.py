"""Claims: one owner at a time, renewed, given up, taken over; in a folder and in an object store."""

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlprune.errors import StoreError
from mlprune.store import claims as claims_module
from mlprune.store.claims import Claims, claim_path
from mlprune.store.process_identity import this_process
from mlprune.store.store import Store
from tests.object_store import BUCKET, ObjectStoreServer, object_store_server
from tests.records import made_up_record

RECORD = made_up_record("masks")
KEY = ("masks", RECORD.id)
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStoreServer]:
    with object_store_server() as running:
        yield running


@pytest.fixture
def remote(server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.clear()
    return Store(f"s3://{BUCKET}/store")


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def foreign(store: Store, *, stale_after_s: object = 0.3, process: object = "elsewhere/1/1", key: tuple = KEY) -> None:
    """A claim of somebody on another machine."""
    claim = {"owner": "their run", "process": process, "stale_after_s": stale_after_s, "n": time.monotonic()}
    store.write_bytes(claim_path(*key), json.dumps(claim).encode())


def claimed(store: Store) -> list[str]:
    return store.list("claims")


def test_a_claim_has_one_owner_and_is_gone_at_the_end(store: Store) -> None:
    with Claims(store, "first") as first:
        assert first.take(KEY)
        assert first.take(KEY)
        with Claims(store, "second") as second:
            assert not second.take(KEY)
            assert second.owner_of(KEY) == "first"
            assert second.take(("masks", "a2"))
            first.release(KEY)
            until(lambda: second.take(KEY))
            assert claimed(store) == ["claims/masks/a2.json", claim_path(*KEY)]
            assert not first.take(KEY)
    assert claimed(store) == []


def test_a_released_claim_can_be_taken_again_at_once(store: Store) -> None:
    with Claims(store, "first") as first:
        for _ in range(20):
            assert first.take(KEY)
            first.release(KEY)
            assert first.take(KEY)
        with Claims(store, "second") as second:
            assert not second.take(KEY)


def test_of_many_who_ask_at_once_one_gets_the_claim_in_a_folder(local: Store) -> None:
    barrier, got = threading.Barrier(8), []

    def ask(number: int) -> None:
        claims = Claims(local, f"run {number}")
        barrier.wait()
        if claims.take(KEY):
            got.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


def test_a_claim_that_is_renewed_stays_whatever_its_clock_says(store: Store) -> None:
    with Claims(store, "first", stale_after_s=1.6) as first, Claims(store, "second") as second:
        assert first.take(KEY)
        data = store.read_file(claim_path(*KEY))
        give_up = time.monotonic() + 2.4
        while time.monotonic() < give_up:
            assert not second.take(KEY)
            time.sleep(0.05)
        assert store.read_file(claim_path(*KEY)) != data


def test_a_claim_without_a_sign_of_life_is_taken_over_after_its_time(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    foreign(store)
    with caplog.at_level(logging.WARNING), Claims(store, "ours") as ours:
        asked = time.monotonic()
        assert not ours.take(KEY)
        assert ours.owner_of(KEY) == "their run"
        until(lambda: ours.take(KEY))
        assert time.monotonic() - asked > 0.3
        assert "their run gave no sign of life" in caplog.text
        with Claims(store, "third") as third:
            assert not third.take(KEY)
    assert claimed(store) == []


def test_a_sign_of_life_starts_the_time_anew(local: Store) -> None:
    ours = Claims(local, "ours")
    give_up = time.monotonic() + 1.0
    while time.monotonic() < give_up:
        foreign(local)
        assert not ours.take(KEY)
        time.sleep(0.05)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"stale_after_s": "long", "process": 7}'])
def test_a_claim_that_cannot_be_read_is_respected_for_our_own_time(local: Store, content: bytes) -> None:
    local.write_bytes(claim_path(*KEY), content)
    ours = Claims(local, "ours", stale_after_s=0.3)
    assert not ours.take(KEY)
    until(lambda: ours.take(KEY))


def test_the_claim_of_a_process_that_has_ended_here_is_taken_over_at_once(local: Store) -> None:
    code = "from mlprune.store.process_identity import this_process; print(this_process())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    ours = Claims(local, "ours")
    foreign(local, process=this_process(), stale_after_s=60)
    assert not ours.take(KEY)
    foreign(local, process=ended, stale_after_s=60)
    assert ours.take(KEY)


def test_a_claim_that_somebody_took_over_is_neither_renewed_nor_removed(store: Store) -> None:
    with Claims(store, "slow", stale_after_s=0.4) as slow:
        assert slow.take(KEY)
        foreign(store)
        data = store.read_file(claim_path(*KEY))
        time.sleep(0.5)
        slow.release(KEY)
        time.sleep(0.1)
    assert store.read_file(claim_path(*KEY)) == data


def test_what_killed_runs_left_on_records_that_exist_is_swept(local: Store) -> None:
    foreign(local)
    foreign(local, key=("masks", "unmade"))
    local.write_record(RECORD)
    with Claims(local, "ours"):
        pass
    assert claimed(local) == ["claims/masks/unmade.json"]


def test_alone_in_an_object_store_a_claim_is_one_request(
    remote: Store, server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims_module, "LOOK_AROUND_S", 0.05)
    with Claims(remote, "ours") as ours:
        assert ours.has_company
        until(lambda: not ours.has_company)
        ours._is_watched = False  # it looks no more, so that its requests can be counted
        time.sleep(0.2)
        server.requests.clear()
        assert ours.take(KEY)
        assert server.requests == [f"PUT store/{claim_path(*KEY)}"]


def test_company_in_an_object_store_is_noticed(remote: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_module, "LOOK_AROUND_S", 0.05)
    with Claims(remote, "ours") as ours:
        assert ours.take(("masks", "own"))
        until(lambda: not ours.has_company)
        time.sleep(0.3)
        assert not ours.has_company
        foreign(remote, stale_after_s=60)
        until(lambda: ours.has_company)
        assert not ours.take(KEY)
        time.sleep(0.3)
        assert ours.has_company


def test_two_who_begin_at_once_in_an_object_store_do_not_overwrite_each_other(remote: Store) -> None:
    with Claims(remote, "first") as first, Claims(remote, "second") as second:
        for number in range(10):
            key = ("masks", str(number))
            assert first.take(key)
            assert not second.take(key)


def test_a_claim_overwritten_by_one_who_thought_to_be_alone_is_noticed(remote: Store) -> None:
    with Claims(remote, "alone", stale_after_s=0.4) as alone:
        until(lambda: not alone.has_company)
        assert alone.take(KEY)
        foreign(remote, stale_after_s=60)
        until(lambda: alone.has_company)


@pytest.mark.parametrize("fails", ["write_if_absent", "read_file"])
def test_a_store_that_takes_no_claims_is_used_without_and_said_once(
    local: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: str
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("read only") if fails == "write_if_absent" else StoreError("the object store refuses us")

    foreign(local)
    monkeypatch.setattr(local, fails, refuse)
    with caplog.at_level(logging.WARNING), Claims(local, "ours") as ours:
        for number in range(3):
            assert ours.take(KEY)
            assert ours.take(("masks", str(number)))
        ours.release(KEY)
    assert caplog.text.count("no claims can be written") == 1


def test_a_real_folder_nobody_may_write_to_stops_nothing(local: Store, caplog: pytest.LogCaptureFixture) -> None:
    local.write_bytes("claims", b"a file where the folder should be")
    with caplog.at_level(logging.WARNING), Claims(local, "ours") as ours:
        assert ours.take(KEY)
        assert ours.take(("masks", "a2"))
    assert caplog.text.count("no claims can be written") == 1


def test_claims_are_no_records(store: Store) -> None:
    with Claims(store, "ours") as ours:
        assert ours.take(KEY)
        assert store.record_names() == []
        assert not store.has_record(*KEY)
