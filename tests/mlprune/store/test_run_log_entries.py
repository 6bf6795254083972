"""Parsing run logs: complete entries, and defaults for fields that are missing or malformed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlprune.json_values import JsonObject
from mlprune.store import run_log_entries
from mlprune.store.run_log_entries import (
    AttemptEntry,
    ClaimEntry,
    EndedEntry,
    PlannedEntry,
    RunEntries,
    RunEntry,
    RunLogReader,
)
from mlprune.store.run_log_files import run_files, write_pack
from mlprune.store.store import Store

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_run_is_named_after_its_recipe_or_else_its_command() -> None:
    assert RunEntry.parse({"recipe": "tiny", "command": "run", "host": "node"}) == RunEntry("tiny", "node", "", None)
    assert RunEntry.parse({"command": "rescore", "started_at": "2026-01-01T12:00"}) == RunEntry("rescore", "", "", NOON)


def test_an_attempt_ends_after_its_elapsed_time() -> None:
    value: JsonObject = {"step": "prune", "status": "done", "host": "node", "worker": "worker-0", "elapsed_s": 60}
    entry = AttemptEntry.parse({**value, "started_at": "2026-01-01T11:59:00+00:00"})
    assert entry == AttemptEntry("prune", "done", "node worker-0", 60.0, NOON)


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
    assert was_read == ["runs/run/job-1.json", "runs/run/planned.json", "runs/run/run.json"]
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
