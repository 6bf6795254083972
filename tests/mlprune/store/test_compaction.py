"""Compaction: the same records in fewer files, whatever other processes read, write, kill or quarantine meanwhile."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from mlprune.errors import StoreError
from mlprune.store import compacted_records, compaction
from mlprune.store.claims import Claims
from mlprune.store.compaction import Compaction, compact, compact_if_many
from mlprune.store.records import Record, record_path
from mlprune.store.store import Store
from tests.records import made_up_record


def record(number: int, kind: str = "evaluations", text: str = "é") -> Record:
    return made_up_record(kind, {"number": number, "text": text})


def fill(store: Store, n: int, *, start: int = 0, kind: str = "evaluations") -> list[Record]:
    records = [record(number, kind) for number in range(start, start + n)]
    for written in records:
        store.write_record(written)
    return in_order(records)


def in_order(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda record: record.id)


def keys(records: Sequence[Record]) -> list[tuple[str, str]]:
    return [(record.kind, record.id) for record in records]


def read(store: Store, records: Sequence[Record]) -> list[Record | None]:
    """The records that a store gives for the kinds and ids of some records."""
    return [store.read_record(*key) for key in keys(records)]


def files(store: Store) -> list[str]:
    return [path for path in store.list("records") if path.endswith(".json")]


def segments(store: Store) -> list[str]:
    return [path for path in store.list("records") if path.endswith(".zst")]


def reopened(store: Store) -> Store:
    """The same store, as a process that has just opened it sees it."""
    return Store(store.uri)


@pytest.mark.thorough("writes and reads many records")
def test_a_compacted_store_has_the_same_records_in_one_file_per_kind(store: Store) -> None:
    records = [*fill(store, 12), *fill(store, 3, kind="variants")]
    assert compact(store) == Compaction(n_records=15, n_segments=2)
    assert (files(store), len(segments(store))) == ([], 2)
    for opened in (store, reopened(store)):
        assert list(opened.records()) == records
        assert list(opened.records("variants")) == records[12:]
        assert opened.record_names() == keys(records)
        assert opened.has_record("variants", records[-1].id)
        assert not opened.has_record("variants", records[0].id)
        assert opened.read_record("variants", "nothing") is None
    assert reopened(store).read_record("variants", records[-1].id) == records[-1], "without a listing before"
    assert reopened(store).has_record("variants", records[-1].id)
    assert list(reopened(store).read_records([*keys(records), ("variants", "nothing")]).values()) == records
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


@pytest.mark.thorough("writes and reads many records")
def test_an_open_store_sees_records_that_were_written_and_compacted_later(store: Store) -> None:
    reader = reopened(store)
    assert reader.record_names() == []
    first = fill(store, 3)
    compact(store)
    assert read(reader, first) == first
    more = fill(store, 3, start=3)
    assert list(reader.records()) == in_order([*first, *more])
    compact(store)
    assert read(reader, more) == more


@pytest.mark.thorough("writes and reads many records")
def test_a_record_in_a_file_and_in_a_segment_counts_once(store: Store) -> None:
    records = fill(store, 3)
    compact(store)
    fill(store, 2)
    assert list(reopened(store).records()) == records
    assert compact(store).n_records == 2
    assert list(reopened(store).records()) == records


def test_many_small_segments_become_one(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MERGE_FROM", 4)
    other = reopened(local)
    records = []
    for number in range(4):
        records += fill(local, 3, start=3 * number)
        compact(local)
        assert list(other.records()) == in_order(records)
    assert len(segments(local)) == 1
    assert read(other, records) == records


def test_large_kinds_become_several_segments(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "SEGMENT_BYTES", 1000)
    records = fill(local, 30)
    assert compact(local).n_segments > 2
    assert list(reopened(local).records()) == records


def test_the_cache_of_blocks_is_bounded(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compacted_records, "CACHE_BYTES", 500)
    monkeypatch.setattr("mlprune.store.segments.BLOCK_BYTES", 200)
    records = fill(local, 20)
    compact(local)
    assert list(local.records()) == records
    assert sum(len(lines) for lines in local.compacted._blocks.values()) <= 500


@pytest.mark.thorough("writes and reads many records")
def test_a_quarantined_record_is_gone_and_can_be_written_again(store: Store) -> None:
    records = fill(store, 4)
    compact(store)
    bad = records[1]
    assert reopened(store).has_record(bad.kind, bad.id)
    store.quarantine(bad)
    for opened in (store, reopened(store)):
        assert opened.read_record(bad.kind, bad.id) is None
        assert not opened.has_record(bad.kind, bad.id)
        assert list(opened.records()) == [record for record in records if record != bad]
    quarantined = store.list("quarantine")
    assert [store.read_file(path) for path in quarantined] == [bad.to_json().encode()]
    store.write_record(bad)
    assert list(reopened(store).records()) == records
    compact(store)
    assert [path for path in store.list("records") if not path.endswith(".zst")] == []
    assert list(reopened(store).records()) == records


def test_another_process_sees_at_once_that_a_record_of_a_folder_is_gone(local: Store) -> None:
    records = fill(local, 3)
    compact(local)
    reader = reopened(local)
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
    assert list(reopened(local).records()) == records[1:]


def test_a_record_quarantined_while_segments_merge_stays_gone(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [*fill(local, 3), *fill(local, 3, start=3)]
    compact(local)
    local.quarantine(records[1])
    write = compaction._write

    def quarantining(store: Store, kind: str, lines: list[tuple[str, bytes]]) -> str:
        reopened(store).quarantine(records[4])
        return write(store, kind, lines)

    monkeypatch.setattr(compaction, "_write", quarantining)
    compact(local)
    assert list(reopened(local).records()) == in_order([records[0], *records[2:4], records[5]])


def test_a_damaged_or_misplaced_record_file_is_not_compacted(local: Store, caplog: pytest.LogCaptureFixture) -> None:
    records = fill(local, 2)
    local.write_bytes(record_path("evaluations", "broken"), b"{")
    local.write_bytes(record_path("evaluations", "elsewhere"), records[0].to_json().encode())
    assert compact(local).n_records == 2
    assert files(local) == ["records/evaluations/broken.json", "records/evaluations/elsewhere.json"]
    assert "broken.json" in caplog.text
    assert "elsewhere.json" in caplog.text


def damage(store: Store, path: str, index: int) -> None:
    assert store.local_root is not None
    file = store.local_root / path
    data = bytearray(file.read_bytes())
    data[index] ^= 1
    file.write_bytes(bytes(data))


def test_a_damaged_block_costs_only_its_own_records(
    local: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mlprune.store.segments.BLOCK_BYTES", 1)
    records = fill(local, 3)
    compact(local)
    damage(local, segments(local)[0], -5)
    reader = Store(local.uri, quarantine=True)
    assert list(reader.records()) == records[:2]
    assert f"{records[2].id}.json is damaged" in caplog.text
    assert not reader.has_record(records[2].kind, records[2].id)
    local.write_record(records[2])
    assert list(reopened(local).records()) == records


def test_a_segment_with_a_damaged_index_is_reported_and_its_records_are_ignored(
    local: Store, caplog: pytest.LogCaptureFixture
) -> None:
    fill(local, 3)
    compact(local)
    damage(local, segments(local)[0], 30)
    reader = reopened(local)
    with caplog.at_level(logging.WARNING):
        assert reader.record_names() == []
    assert "index of the segment is damaged" in caplog.text
    assert list(reader.compacted.damaged("evaluations")) == segments(local)


def test_a_kind_that_another_process_is_compacting_is_skipped(local: Store, caplog: pytest.LogCaptureFixture) -> None:
    fill(local, 2)
    with Claims(local, "another run") as claims:
        assert claims.take(("segments", "evaluations"))
        assert compact(local) == Compaction()
    assert "compacted by another run" in caplog.text


def test_compactions_without_claims_cost_at_most_repeated_work(local: Store) -> None:
    records = fill(local, 40)

    def unclaimed(_: Any, __: Any) -> bool:
        return True

    with patch.object(Claims, "take", unclaimed):
        threads = [threading.Thread(target=compact, args=(reopened(local),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    remaining = list(reopened(local).records())
    assert all(record in records for record in remaining)
    for record in records:
        if record not in remaining:
            local.write_record(record)
    assert list(reopened(local).records()) == records


def _die_at(uri: str, n_calls: int) -> None:
    """Compact, and die at the call after `n_calls` calls that change files."""
    n_left = [n_calls]

    def counted(action: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            n_left[0] -= 1
            if n_left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return action(*arguments, **named)

        return call

    with (
        patch.object(Path, "unlink", counted(Path.unlink)),
        patch.object(Path, "replace", counted(Path.replace)),
        patch.object(compaction, "MERGE_FROM", 2),
    ):
        compact(Store(uri))
    os._exit(0)


@pytest.mark.thorough("writes and reads many records")
def test_a_compaction_killed_at_any_point_loses_nothing(local: Store) -> None:
    records = fill(local, 3)
    compact(local)
    records = in_order([*records, *fill(local, 3, start=3)])
    context = multiprocessing.get_context("fork")
    for n_calls in range(40):
        process = context.Process(target=_die_at, args=(local.uri, n_calls))
        process.start()
        process.join()
        assert list(reopened(local).records()) == records
        if process.exitcode == 0:
            break
    assert process.exitcode == 0
    assert files(local) == []
    assert len(segments(local)) == 1


def test_segments_merged_just_after_their_folder_was_listed_hide_no_record(
    local: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = fill(local, 3)
    compact(local)
    new = fill(local, 1, start=3)
    scandir, folder = os.scandir, f"{local.uri}/records/evaluations/segments"

    @contextmanager
    def then_merged(path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scandir(path) as entries:
            yield entries
        if path == folder and new:
            new.clear()
            compact(local)

    monkeypatch.setattr(os, "scandir", then_merged)
    monkeypatch.setattr(compaction, "MERGE_FROM", 2)
    assert reopened(local).record_ids()["evaluations"] >= {record.id for record in records}
    assert not new, "the segments were merged meanwhile"


def test_processes_that_read_and_write_meanwhile_miss_nothing(local: Store) -> None:
    records = fill(local, 60)
    stop, missed = threading.Event(), []

    def keep_reading() -> None:
        reader = reopened(local)
        while not stop.is_set():
            if read(reader, records) != records:
                missed.append("record")
            if not set(keys(records)) <= set(reader.record_names()):
                missed.append("listing")

    thread = threading.Thread(target=keep_reading)
    thread.start()
    with patch.object(compaction, "MERGE_FROM", 2):
        for number in range(4):
            fill(local, 5, start=100 + 5 * number)
            compact(local)
    stop.set()
    thread.join()
    assert missed == []


def test_a_read_only_store_is_an_error_in_one_line(local: Store) -> None:
    fill(local, 2)
    read_only = patch.object(Store, "write_bytes", side_effect=PermissionError("read-only"))
    with read_only, pytest.raises(StoreError, match="cannot be compacted"):
        compact(local)
    assert len(files(local)) == 2


def test_a_run_compacts_kinds_with_many_files_and_survives_a_failure(
    local: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compaction, "COMPACT_FROM", 3)
    records = [*fill(local, 3), *fill(local, 2, kind="variants")]
    with monkeypatch.context() as patched:
        patched.setattr(compaction, "_write", lambda *_: (_ for _ in ()).throw(PermissionError("read-only")))
        assert compact_if_many(local) == Compaction()
    assert "the records are not compacted" in caplog.text
    assert compact_if_many(local).n_records == 3
    assert list(reopened(local).records()) == records
