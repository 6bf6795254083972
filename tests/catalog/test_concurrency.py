"""Several processes in one store: a sweep writes while others read, and while somebody holds the catalog file."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.store import Catalog
from mlprune.storage import Store
from tests.catalog.processes_at_work import (
    PATIENCE_S,
    ask_duckdb_until,
    ask_until,
    event,
    finished,
    hold,
    started,
    write_and_fold,
)

SOURCES = "SELECT source FROM base_models ORDER BY n_blocks"


@pytest.fixture
def shared(tmp_path: Path) -> Store:
    """A store with a catalog and a first record."""
    store = Store(tmp_path / "store")
    write_and_fold(store.uri, 0, 1, fold_every=1, persisted=True)
    return store


def catalog_file(store: Store) -> Path:
    assert store.local_root is not None
    return store.local_root / "catalog.duckdb"


def assert_nothing_is_lost(store: Store, n_records: int) -> None:
    with Catalog.open(store) as catalog, Catalog.in_memory(store) as fresh:
        assert catalog.fold().persisted
        assert catalog.query(SOURCES) == [{"source": f"small-{number}"} for number in range(n_records)]
        assert catalog.fingerprints() == fresh.fingerprints()
        assert catalog.snapshot_id() == fresh.snapshot_id()


def test_a_notebook_the_shell_and_the_command_read_while_a_sweep_writes(shared: Store) -> None:
    is_over = event()
    readers = [
        started(ask_until, shared.uri, is_over),
        started(ask_duckdb_until, catalog_file(shared), is_over),
    ]
    sweep = started(write_and_fold, shared.uri, 1, 60, 5, None)
    command = [sys.executable, "-m", "ray_jobs.cli", "query", SOURCES, "--store", shared.uri, "--format", "csv"]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    finished(sweep)
    is_over.set()
    finished(*readers)
    sources = asked.stdout.split()[1:]
    assert sources == [f"small-{number}" for number in range(len(sources))]
    assert sources
    assert_nothing_is_lost(shared, 60)


def test_while_somebody_holds_the_file_a_sweep_goes_on_and_loses_nothing(
    shared: Store, caplog: pytest.LogCaptureFixture
) -> None:
    is_held, may_go = event(), event()
    holder = started(hold, catalog_file(shared), is_held, may_go)
    assert is_held.wait(PATIENCE_S)
    write_and_fold(shared.uri, 1, 5, 4, False)
    with caplog.at_level(logging.WARNING), Catalog.open(shared) as catalog:
        assert len(catalog.query(SOURCES)) == 5
        assert "answering from a copy of it" in caplog.text
        assert catalog.path is not None
    before = catalog_file(shared).read_bytes()
    may_go.set()
    finished(holder)
    assert catalog_file(shared).read_bytes() == before
    assert_nothing_is_lost(shared, 5)


def test_five_drivers_fold_into_one_store(shared: Store) -> None:
    """Their records overlap, as those of recipes do that share variants."""
    drivers = [started(write_and_fold, shared.uri, 1 + 10 * n, 31 + 10 * n, 7, None) for n in range(5)]
    finished(*drivers)
    assert_nothing_is_lost(shared, 71)
