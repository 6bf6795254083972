"""Claims of other runs: when they are stale, and whose they are."""

import json
import time

import pytest

from mlprune.processes.process_identity import this_process
from mlprune.store.claims.seen_claims import SeenClaims, parse_claim

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
