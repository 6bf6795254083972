"""Compaction: the same records out of fewer files, whoever reads, writes, dies or quarantines meanwhile."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from mlprune.errors import StoreError
from mlprune.store import compaction
from mlprune.store.claims import Claims
from mlprune.store.compaction import Compaction, compact, compact_if_many
from mlprune.store.records import Record, record_path
from mlprune.store.segments import reader
from mlprune.store.store import Store
from tests.object_store import BUCKET, ObjectStoreServer, object_store_server
from tests.records import made_up_record


@pytest.fixture(scope="module")
def running() -> Iterator[ObjectStoreServer]:
    with object_store_server() as server:
        yield server


@pytest.fixture
def remote(running: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    running.clear()
    return Store(f"s3://{BUCKET}/a/store")


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


def record(number: int, kind: str = "evaluations", text: str = "é") -> Record:
    return made_up_record(kind, {"number": number, "text": text})


def fill(store: Store, n: int, *, start: int = 0, kind: str = "evaluations") -> list[Record]:
    records = [record(number, kind) for number in range(start, start + n)]
    with patch("os.fsync", lambda _: None):
        for one in records:
            store.write_record(one)
    return sorted(records, key=lambda one: one.id)


def files(store: Store) -> list[str]:
    return [path for path in store.list("records") if path.endswith(".json")]


def segments(store: Store) -> list[str]:
    return [path for path in store.list("records") if path.endswith(".zst")]


def anew(store: Store) -> Store:
    """The same store, of which nothing is known yet."""
    return Store(store.uri)


def test_a_compacted_store_has_the_same_records_in_one_file_a_kind(store: Store) -> None:
    records = [*fill(store, 12), *fill(store, 3, kind="variants")]
    assert compact(store) == Compaction(n_records=15, n_segments=2)
    assert (files(store), len(segments(store))) == ([], 2)
    for opened in (store, anew(store)):
        assert list(opened.records()) == records
        assert list(opened.records("variants")) == records[12:]
        assert opened.record_names() == [(one.kind, one.id) for one in records]
        assert opened.has_record("variants", records[-1].id)
        assert not opened.has_record("variants", records[0].id)
        assert opened.read_record("variants", "nothing") is None
    assert anew(store).read_record("variants", records[-1].id) == records[-1], "without a listing before"
    assert anew(store).has_record("variants", records[-1].id)
    names = [(one.kind, one.id) for one in records]
    assert list(anew(store).read_records([*names, ("variants", "nothing")]).values()) == records
    assert store.list("claims") == []


def test_compacting_again_does_nothing(local: Store) -> None:
    fill(local, 3)
    compact(local)
    before = local.list("records")
    assert compact(local) == Compaction()
    assert local.list("records") == before


def test_only_kinds_with_many_files_are_compacted(local: Store) -> None:
    fill(local, 5)
    fill(local, 2, kind="variants")
    assert compact(local, at_least=3).n_records == 5
    assert [path.split("/")[1] for path in files(local)] == ["variants", "variants"]


def test_records_written_later_stand_beside_and_are_seen_by_who_looked_before(store: Store) -> None:
    reader = anew(store)
    assert reader.record_names() == []
    first = fill(store, 3)
    compact(store)
    assert [reader.read_record(one.kind, one.id) for one in first] == first
    more = fill(store, 3, start=3)
    assert list(reader.records()) == sorted([*first, *more], key=lambda one: one.id)
    compact(store)
    assert [reader.read_record(one.kind, one.id) for one in more] == more


def test_a_record_in_both_places_counts_once(store: Store) -> None:
    records = fill(store, 3)
    compact(store)
    fill(store, 2)
    assert list(anew(store).records()) == records
    assert compact(store).n_records == 2
    assert list(anew(store).records()) == records


def test_many_small_segments_become_one(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MERGE_FROM", 4)
    other = anew(local)
    records = []
    for number in range(4):
        records += fill(local, 3, start=3 * number)
        compact(local)
        assert list(other.records()) == sorted(records, key=lambda one: one.id)
    assert len(segments(local)) == 1
    assert [other.read_record(one.kind, one.id) for one in records] == records


def test_large_kinds_become_several_segments(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "SEGMENT_BYTES", 1000)
    records = fill(local, 30)
    assert compact(local).n_segments > 2
    assert list(anew(local).records()) == records


def test_the_blocks_in_memory_are_bounded(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CACHE_BYTES", 500)
    monkeypatch.setattr("mlprune.store.segments.encoding.BLOCK_BYTES", 200)
    records = fill(local, 20)
    compact(local)
    assert list(local.records()) == records
    assert sum(len(lines) for lines in local.compacted._blocks.values()) <= 500


def test_a_quarantined_record_is_gone_and_made_again(store: Store) -> None:
    records = fill(store, 4)
    compact(store)
    bad, other = records[1], anew(store)
    assert other.has_record(bad.kind, bad.id)
    store.quarantine(bad)
    for opened in (store, anew(store)):
        assert opened.read_record(bad.kind, bad.id) is None
        assert not opened.has_record(bad.kind, bad.id)
        assert list(opened.records()) == [one for one in records if one != bad]
    kept = store.list("quarantine")
    assert [store.read_file(path) for path in kept] == [bad.to_json().encode()]
    store.write_record(bad)
    assert list(anew(store).records()) == records
    compact(store)
    assert [path for path in store.list("records") if not path.endswith(".zst")] == []
    assert list(anew(store).records()) == records


def test_another_reader_in_a_folder_sees_at_once_that_a_record_is_gone(local: Store) -> None:
    records = fill(local, 3)
    compact(local)
    reader = anew(local)
    assert reader.has_record(records[0].kind, records[0].id)
    local.quarantine(records[0])
    assert not reader.has_record(records[0].kind, records[0].id)


def test_a_record_quarantined_while_it_is_compacted_stays_gone(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    records = fill(local, 3)
    write = compaction._write

    def quarantining(store: Store, kind: str, lines: list[tuple[str, bytes]]) -> str:
        store.quarantine(records[0])
        return write(store, kind, lines)

    monkeypatch.setattr(compaction, "_write", quarantining)
    compact(local)
    assert list(anew(local).records()) == records[1:]


def test_a_record_quarantined_while_segments_merge_stays_gone(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [*fill(local, 3), *fill(local, 3, start=3)]
    compact(local)
    local.quarantine(records[1])
    write = compaction._write

    def quarantining(store: Store, kind: str, lines: list[tuple[str, bytes]]) -> str:
        anew(store).quarantine(records[4])
        return write(store, kind, lines)

    monkeypatch.setattr(compaction, "_write", quarantining)
    compact(local)
    expected = sorted((one for one in records if one not in (records[1], records[4])), key=lambda one: one.id)
    assert list(anew(local).records()) == expected


def test_a_record_file_that_cannot_be_read_or_lies_wrong_is_left_where_it_is(
    local: Store, caplog: pytest.LogCaptureFixture
) -> None:
    records = fill(local, 2)
    local.write_bytes(record_path("evaluations", "broken"), b"{")
    local.write_bytes(record_path("evaluations", "elsewhere"), records[0].to_json().encode())
    assert compact(local).n_records == 2
    assert files(local) == ["records/evaluations/broken.json", "records/evaluations/elsewhere.json"]
    assert "broken.json" in caplog.text
    assert "elsewhere.json" in caplog.text


def damage(store: Store, path: str, place: int) -> None:
    assert store.local_root is not None
    file = store.local_root / path
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(bytes(data))


def test_a_damaged_block_costs_its_records_and_no_others(
    local: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mlprune.store.segments.encoding.BLOCK_BYTES", 1)
    records = fill(local, 3)
    compact(local)
    damage(local, segments(local)[0], -5)
    reader = Store(local.uri, quarantine=True)
    assert list(reader.records()) == records[:2]
    assert f"{records[2].id}.json is damaged" in caplog.text
    assert not reader.has_record(records[2].kind, records[2].id), "so that it is made again"
    local.write_record(records[2])
    assert list(anew(local).records()) == records


def test_a_segment_whose_index_is_damaged_holds_nothing_and_is_said(
    local: Store, caplog: pytest.LogCaptureFixture
) -> None:
    fill(local, 3)
    compact(local)
    damage(local, segments(local)[0], 30)
    reader = anew(local)
    with caplog.at_level(logging.WARNING):
        assert reader.record_names() == []
    assert "index of the segment is damaged" in caplog.text
    assert list(reader.compacted.damaged("evaluations")) == segments(local)


def test_a_kind_that_another_process_compacts_is_left_to_it(local: Store, caplog: pytest.LogCaptureFixture) -> None:
    fill(local, 2)
    with Claims(local, "somebody") as claims:
        assert claims.take(("segments", "evaluations"))
        assert compact(local) == Compaction()
    assert "compacted by somebody" in caplog.text


def test_two_compactions_at_once_without_a_claim_lose_and_double_nothing(local: Store) -> None:
    records = fill(local, 40)

    def unclaimed(_: Any, __: Any) -> bool:
        return True

    with patch.object(Claims, "take", unclaimed):
        threads = [threading.Thread(target=compact, args=(anew(local),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = {one.id for one in anew(local).records()}
    assert found <= {one.id for one in records}
    for one in records:
        if one.id not in found:
            local.write_record(one)
    assert list(anew(local).records()) == records


def _die_at(uri: str, n_calls: int) -> None:
    """Compact, and die at a call of the kind that changes files."""
    left = [n_calls]

    def counted(action: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return action(*arguments, **named)

        return call

    with (
        patch("os.fsync", lambda _: None),
        patch.object(Path, "unlink", counted(Path.unlink)),
        patch.object(Path, "replace", counted(Path.replace)),
        patch.object(compaction, "MERGE_FROM", 2),
    ):
        compact(Store(uri))
    os._exit(0)


def test_a_compaction_killed_at_any_point_loses_nothing(local: Store) -> None:
    records = fill(local, 3)
    compact(local)
    records = sorted([*records, *fill(local, 3, start=3)], key=lambda one: one.id)
    context = multiprocessing.get_context("fork")
    for n_calls in range(40):
        process = context.Process(target=_die_at, args=(local.uri, n_calls))
        process.start()
        process.join()
        assert list(anew(local).records()) == records
        if process.exitcode == 0:
            break
    assert process.exitcode == 0
    assert files(local) == []
    assert len(segments(local)) == 1


def test_segments_merged_just_after_their_folder_was_looked_at_hide_no_record(
    local: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = fill(local, 3)
    compact(local)
    new = fill(local, 1, start=3)
    look, folder = os.scandir, f"{local.uri}/records/evaluations/segments"

    @contextmanager
    def then_merged(path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        with look(path) as entries:
            yield entries
        if path == folder and new:
            new.clear()
            compact(local)

    monkeypatch.setattr(os, "scandir", then_merged)
    monkeypatch.setattr(compaction, "MERGE_FROM", 2)
    assert anew(local).record_ids()["evaluations"] >= {one.id for one in records}
    assert not new, "it was merged"


def test_readers_and_writers_at_work_meanwhile_miss_nothing(local: Store) -> None:
    records = fill(local, 60)
    ids = {one.id for one in records}
    is_over, missed = threading.Event(), []

    def read() -> None:
        reader = anew(local)
        while not is_over.is_set():
            for one in records:
                if reader.read_record(one.kind, one.id) != one:
                    missed.append(one.id)
            if not ids <= {record_id for _, record_id in reader.record_names()}:
                missed.append("listing")

    thread = threading.Thread(target=read)
    thread.start()
    with patch.object(compaction, "MERGE_FROM", 2):
        for number in range(4):
            fill(local, 5, start=100 + 5 * number)
            compact(local)
    is_over.set()
    thread.join()
    assert missed == []


def test_a_store_nobody_may_write_to_is_said(local: Store) -> None:
    fill(local, 2)
    read_only = patch.object(Store, "write_bytes", side_effect=PermissionError("read-only"))
    with read_only, pytest.raises(StoreError, match="cannot be compacted"):
        compact(local)
    assert len(files(local)) == 2


def test_a_run_compacts_what_is_many_and_goes_on_where_it_cannot(
    local: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compaction, "COMPACT_FROM", 3)
    records = [*fill(local, 3), *fill(local, 2, kind="variants")]
    with monkeypatch.context() as patched:
        patched.setattr(compaction, "_write", lambda *_: (_ for _ in ()).throw(PermissionError("read-only")))
        assert compact_if_many(local) == Compaction()
    assert "the records stay as they are" in caplog.text
    assert compact_if_many(local).n_records == 3
    assert list(anew(local).records()) == records
