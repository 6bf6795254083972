"""Run logs: files, packs and parsed entries."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mlprune.json_values import JsonObject
from mlprune.store import run_log_entries
from mlprune.store.garbage import find_garbage
from mlprune.store.run_log_entries import (
    AttemptEntry,
    ClaimEntry,
    EndedEntry,
    PlannedEntry,
    RunEntries,
    RunEntry,
    RunLogReader,
)
from mlprune.store.run_log_files import RunFiles, kind_of, read_run_file, run_files, run_of, write_pack
from mlprune.store.store import Store

RUN = "20260203T221500-abc123"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def write_jobs(store: Store, numbers: range, folder: str = RUN) -> list[tuple[str, dict[str, Any]]]:
    """Write files of jobs, every third of which failed; return their names and contents."""
    files = [(f"{'job' if number % 3 else 'failure'}-{number}", {"number": number}) for number in numbers]
    for name, value in files:
        store.write_run_file(folder, name, value)
    return files


def contents(store: Store) -> dict[str, Any]:
    """Path -> number of all job files, in packs or not; no path may occur twice."""
    files = run_files(store)
    read = [entry for path in (*files.single, *files.packs) for entry in read_run_file(store, path)]
    numbers = {path: value["number"] for path, value in read}
    assert len(numbers) == len(read)
    return numbers


def test_a_pack_replaces_its_files(store: Store) -> None:
    files = write_jobs(store, range(7))
    before = contents(store)
    write_pack(store, RUN, files[:5])
    assert store.list("runs") == [
        f"runs/{RUN}/{name}" for name in ("failure-6.json", "job-5.json", "packed-0-4.jsonl.zst")
    ]
    assert contents(store) == before


def test_files_that_a_killed_process_left_next_to_their_pack_count_once_and_are_garbage(store: Store) -> None:
    files = write_jobs(store, range(4))
    before = contents(store)
    write_pack(store, RUN, files)
    write_jobs(store, range(1, 4))
    assert contents(store) == before
    expected = {f"runs/{RUN}/{name}.json" for name, _ in files[1:]}
    assert run_files(store).packed == expected
    assert {file.path for file in find_garbage(store, min_age_s=-60).files} == expected


def test_a_pack_replaces_smaller_packs_and_one_that_was_left_counts_once_and_is_garbage(store: Store) -> None:
    files = write_jobs(store, range(8))
    before = contents(store)
    packs = [write_pack(store, RUN, part) for part in (files[:3], files[3:5])]
    assert contents(store) == before
    left = {path: store.read_file(path) or b"" for path in packs}
    full = write_pack(store, RUN, files[:6], replaced=[*packs, f"runs/{RUN}/{files[5][0]}.json"])
    assert store.list("runs") == sorted([full, *(f"runs/{RUN}/{name}.json" for name, _ in files[6:])])
    for path, data in left.items():
        store.write_bytes(path, data)
    listed = run_files(store)
    assert contents(store) == before
    assert (listed.packs, listed.packed) == ((full,), left.keys())
    assert all(map(listed.contains, left))
    assert {file.path for file in find_garbage(store, min_age_s=-60).files} == left.keys()


def test_files_that_cannot_be_removed_stay_next_to_their_pack(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_jobs(store, range(3))
    before = contents(store)

    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(store, "delete", refuse)
    write_pack(store, RUN, files)
    assert contents(store) == before
    assert len(caplog.records) == 1


def test_a_pack_contains_the_numbers_it_names_in_its_own_folder_only() -> None:
    files = RunFiles([f"runs/{RUN}/packed-10-20.jsonl.zst", f"runs/{RUN}/run.json"])
    contained = [f"runs/{RUN}/job-10.json", f"runs/{RUN}/elsewhere-20.json", *files.packs, f"runs/{RUN}/run.json"]
    assert all(map(files.contains, contained))
    absent = [
        f"runs/{RUN}/job-9.json",
        f"runs/{RUN}/job-21.json",
        f"runs/{RUN}/packed-15-25.jsonl.zst",
        f"runs/{RUN}-1/job-10.json",
        f"runs/{RUN}/ended.json",
    ]
    assert not any(map(files.contains, absent))


@pytest.mark.parametrize(
    ("folder", "expected"), [(RUN, (RUN, 0)), (f"{RUN}-2", (RUN, 2)), ("run-1", ("run-1", 0)), ("run", ("run", 0))]
)
def test_a_folder_names_the_run_and_the_round(folder: str, expected: tuple[str, int]) -> None:
    assert run_of(f"runs/{folder}/job-1.json") == expected


def test_a_kind_follows_from_the_name() -> None:
    names = ("run.json", "job-12.json", "environment-0a1b.json", "packed-0-99.jsonl.zst")
    assert [kind_of(f"runs/{RUN}/{name}") for name in names] == ["run", "job", "environment", "packed"]


@pytest.mark.parametrize("data", [b"", b"no JSON", b"[1]"])
def test_a_file_that_is_not_a_json_object_is_an_error(store: Store, data: bytes) -> None:
    store.write_bytes(f"runs/{RUN}/job-0.json", data)
    with pytest.raises((ValueError, TypeError)):
        list(read_run_file(store, f"runs/{RUN}/job-0.json"))


def test_a_damaged_pack_is_an_error(store: Store) -> None:
    write_pack(store, RUN, write_jobs(store, range(100)))
    (path,) = store.list("runs")
    data = bytearray(store.read_file(path) or b"")
    data[-20] ^= 1
    store.write_bytes(path, bytes(data))
    with pytest.raises(ValueError, match="damaged"):
        list(read_run_file(store, path))


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_run_is_named_after_its_recipe_or_else_its_command() -> None:
    assert RunEntry.parse({"recipe": "tiny", "command": "run", "host": "node"}) == RunEntry("tiny", "node", "", None)
    assert RunEntry.parse({"command": "rescore", "started_at": "2026-01-01T12:00"}) == RunEntry("rescore", "", "", NOON)


def test_an_attempt_ends_after_its_elapsed_time() -> None:
    value: JsonObject = {"step": "prune", "status": "done", "host": "node", "worker": "worker-0", "elapsed_s": 60}
    entry = AttemptEntry.parse({**value, "started_at": "2026-01-01T11:59:00+00:00"})
    assert entry == AttemptEntry("prune", "done", "node worker-0", 60.0, NOON, kind="prune/")


def test_a_claim_names_its_record_by_its_path() -> None:
    claim = ClaimEntry.parse(
        "claims/masks/abc.json", {"owner": "run", "stale_after_s": 30, "renewed_at": "2026-01-01T12:00Z"}
    )
    assert claim == ClaimEntry("run", "masks/abc", NOON, 30.0)


@pytest.mark.parametrize(
    "value", [{}, {"jobs": [1], "process": 3, "planned_at": "yesterday", "how": None, "elapsed_s": "x"}]
)
def test_missing_and_malformed_fields_get_defaults(value: JsonObject) -> None:
    assert PlannedEntry.parse(value) == PlannedEntry({}, "", None)
    assert EndedEntry.parse(value) == EndedEntry("", None)
    assert AttemptEntry.parse(value) == AttemptEntry("", "", "", 0.0, None)


def test_entries_are_collected_by_kind_and_unknown_kinds_are_ignored() -> None:
    entries = RunEntries()
    for kind, value in {
        "run": {"recipe": "tiny"},
        "planned": {"jobs": {"prune": 2}},
        "job": {"step": "prune"},
        "failure": {"step": "prune", "record_id": "a", "message": "broken"},
        "elsewhere": {"step": "observe"},
        "environment": {"packages": {}},
    }.items():
        entries.add(kind, value)
    assert (entries.run.name, entries.planned.n_jobs, entries.ended) == ("tiny", {"prune": 2}, None)
    assert (entries.n_attempts.total(), entries.failures[0].record_id) == (1, "a")
    assert entries.n_done["observe"] == 1


JOB = {"step": "prune", "status": "done", "host": "h", "worker": "w", "elapsed_s": 1.0}


def paths(store: Store) -> list[str]:
    files = run_files(store)
    return [*files.single, *files.packs]


def test_files_that_do_not_change_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, was_read = Store(tmp_path), []
    read = run_log_entries.read_run_file
    monkeypatch.setattr(
        run_log_entries, "read_run_file", lambda store, path: was_read.append(path) or read(store, path)
    )
    for name, value in {"run": {"recipe": "r"}, "planned": {"jobs": {"prune": 9}}, "environment-e": {}}.items():
        store.write_run_file("run", name, value)
    store.write_run_file("run", "job-0", JOB)
    reader = RunLogReader(store)
    assert reader.read(paths(store), ["run"])["run"].n_attempts.total() == 1
    store.write_run_file("run", "job-1", JOB)
    store.write_run_file("run", "planned", {"jobs": {"prune": 12}})
    was_read.clear()
    entries = reader.read(paths(store), ["run"])["run"]
    assert sorted(was_read) == ["runs/run/job-1.json", "runs/run/planned.json", "runs/run/run.json"]
    assert entries.n_attempts.total() == 2
    assert entries.planned.n_jobs == {"prune": 12}


def test_a_file_counts_once_when_it_is_packed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    files = [(f"job-{n}", JOB) for n in range(4)]
    for name, row in files[:3]:
        store.write_run_file("run", name, row)
    reader = RunLogReader(store)
    assert reader.read(paths(store), ["run"])["run"].n_attempts.total() == 3
    write_pack(store, "run", files)
    for _ in range(2):
        assert reader.read(paths(store), ["run"])["run"].n_attempts.total() == 4


def test_an_entry_counts_once_when_its_pack_becomes_part_of_a_larger_one(tmp_path: Path) -> None:
    store, reader = Store(tmp_path), RunLogReader(Store(tmp_path))
    files = [(f"job-{n}", JOB) for n in range(6)]
    small = write_pack(store, "run", files[:2], replaced=())
    assert reader.read(paths(store), ["run"])["run"].n_attempts.total() == 2
    write_pack(store, "run", files[2:4], replaced=())
    write_pack(store, "run", files, replaced=[small])  # the process dies before it removes the second one
    for _ in range(2):
        assert reader.read(paths(store), ["run"])["run"].n_attempts.total() == 6


def test_a_damaged_file_is_read_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_bytes("runs/run/job-0.json", b"{")
    reader = RunLogReader(store)
    assert not reader.read(paths(store), ["run"])["run"].n_attempts
    store.write_run_file("run", "job-0", JOB)
    assert reader.read(paths(store), ["run"])["run"].n_attempts.total() == 1


def test_runs_that_are_no_longer_asked_for_are_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("a", "b"):
        store.write_run_file(name, "job-0", JOB)
    reader = RunLogReader(store)
    assert set(reader.read(paths(store), ["a", "b"])) == {"a", "b"}
    assert set(reader.read(paths(store), ["b"])) == {"b"}
    assert set(reader._known) == {"b"}
