"""Parsing run logs: complete entries, and defaults for fields that are missing or malformed."""

from datetime import UTC, datetime

import pytest

from mlprune.json_values import JsonObject
from ray_jobs.driver.status.run_log_entries import (
    AttemptEntry,
    ClaimEntry,
    EndedEntry,
    PlannedEntry,
    RunEntries,
    RunEntry,
)

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
