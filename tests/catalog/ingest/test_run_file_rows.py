"""Rows of run files: one per file, once, also if files are packed, removed or damaged."""

import logging
from typing import Any

import pytest

from catalog.ingest.run_file_rows import TABLES
from catalog.queries import run_user_query
from catalog.store import Catalog
from mlprune.store.run_log_files import write_pack
from mlprune.store.store import Store
from tests.catalog_data import ENVIRONMENT_ID

RUN = "20260203T221500-abc123"
PACKAGES = {"torch": "2.9.0", "numpy": "2.4.0"}


def add_run(store: Store, n_jobs: int, folder: str = RUN) -> list[tuple[str, dict[str, Any]]]:
    """A run with some jobs, the last of which failed; returns its numbered files."""
    store.write_run_file(folder, "run", {"command": "run", "recipe": "small", "started_at": "2026-02-03T22:15:00"})
    environment = {"environment_id": "e1", "mlprune": "0.1.0", "code_sha256": "c1", "packages": PACKAGES}
    store.write_run_file(folder, "environment-e1", environment)
    files = []
    for number in range(n_jobs):
        row = {"job_id": str(number), "step": "prune", "status": "done", "attempt": 1, "environment_id": "e1"}
        files.append((f"job-{number}", {**row, "started_at": "2026-02-03T22:15:00", "elapsed_s": 1.0}))
    failure = {"job_id": str(n_jobs - 1), "error": "ValueError", "attempts": 1, "work": "facts fr", "traceback": "at"}
    files.append((f"failure-{n_jobs}", failure))
    for name, row in files:
        store.write_run_file(folder, name, row)
    return files


def run_tables(catalog: Catalog) -> dict[str, list[dict[str, Any]]]:
    catalog.fold()
    names = [*TABLES.values(), "environments", "environment_packages"]
    return {name: catalog.query(f"SELECT * FROM {name} ORDER BY ALL") for name in names}


def test_every_file_of_a_run_becomes_its_rows(store: Store) -> None:
    add_run(store, 3)
    store.write_run_file(f"{RUN}-1", "ended", {"how": "done", "ended_at": "2026-02-03T23:00:00", "n_done": 3})
    with Catalog.open(store) as catalog:
        found = {name: [row for row in rows if row.get("run_id") == RUN] for name, rows in run_tables(catalog).items()}
        packages = catalog.query("SELECT package, version FROM environment_packages WHERE environment_id = 'e1'")
    assert [(row["recipe"], row["command"]) for row in found["runs"]] == [("small", "run")]
    assert [(row["how"], row["round"], row["n_done"]) for row in found["run_ends"]] == [("done", 1, 3)]
    assert [row["environment_id"] for row in found["jobs"]] == ["e1"] * 3
    assert [row["error"] for row in found["failures"]] == ["ValueError"]
    assert [(row["work"], row["traceback"]) for row in found["failures"]] == [("facts fr", "at")]
    assert {row["package"]: row["version"] for row in packages} == PACKAGES


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize("is_folded_before", [True, False])
def test_packing_changes_no_row(store: Store, *, is_folded_before: bool) -> None:
    files = add_run(store, 5)
    with Catalog.in_memory(store) as fresh:
        expected = run_tables(fresh)
    with Catalog.open(store) as catalog:
        if is_folded_before:
            catalog.fold()
        write_pack(store, RUN, files[:4])
        assert run_tables(catalog) == expected
        assert catalog.fold().n_rows == 0
    with Catalog.in_memory(store) as fresh:
        assert run_tables(fresh) == expected


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_pack_that_becomes_part_of_a_larger_one_changes_no_row(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    files = add_run(store, 5)
    small = [write_pack(store, RUN, part) for part in (files[:2], files[2:4])]
    with Catalog.open(store) as catalog:
        expected = run_tables(catalog)
        write_pack(store, RUN, files, replaced=small)
        with monkeypatch.context() as patched:
            patched.setattr("catalog.ingest.fold.remove_rows", lambda *_, **__: pytest.fail("rows were removed"))
            assert run_tables(catalog) == expected


def test_a_pack_that_is_folded_is_not_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pack(store, RUN, add_run(store, 5))
    with Catalog.open(store) as catalog:
        catalog.fold()
        monkeypatch.setattr("catalog.ingest.run_file_rows.read_run_file", lambda *_: pytest.fail("a run file was read"))
        catalog.fold()


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_rows_of_removed_run_files_are_removed(store: Store) -> None:
    add_run(store, 2)
    with Catalog.open(store) as catalog:
        catalog.fold()
        store.delete(f"runs/{RUN}/job-1.json")
        assert len([row for row in run_tables(catalog)["jobs"] if row["run_id"] == RUN]) == 1


def test_an_environment_without_packages_is_skipped_with_a_warning(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    add_run(store, 1)
    store.write_run_file(RUN, "environment-e2", {"environment_id": "e2"})
    with caplog.at_level(logging.WARNING), Catalog.open(store) as catalog:
        found = run_tables(catalog)
    assert "e2" not in {row["environment_id"] for row in (*found["environments"], *found["run_environments"])}
    assert "environment-e2.json cannot be read" in caplog.text


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_runs_are_listed_with_their_code_and_their_end(store: Store) -> None:
    add_run(store, 3)
    with Catalog.open(store) as catalog:
        first, second = sorted(run_user_query(catalog, "runs").as_dicts(), key=lambda row: row["run_id"], reverse=True)
    assert (first["run_id"], first["how"], first["n_done"], first["n_failed"]) == ("run-1", "failed", 3, 1)
    assert (first["git_commit"], first["is_modified"], first["environment_id"]) == ("c0ffee", False, ENVIRONMENT_ID)
    assert (second["run_id"], second["how"], second["n_done"], second["n_failed"]) == (RUN, None, 3, 1)
