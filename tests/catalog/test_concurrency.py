"""Several processes in one store: a sweep writes while others read or have the catalog file open."""

import logging
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import duckdb
import pytest

from catalog.store import Catalog, connections, export_catalog
from catalog.store.database_file import HEADER_BYTES, snapshot_copy
from mlprune.store.store import Store
from tests.catalog.store_processes import (
    PATIENCE_S,
    ask_duckdb_until,
    ask_until,
    event,
    finished,
    hold,
    small_record,
    started,
    write_and_checkpoint_until,
    write_and_fold,
)

pytestmark = pytest.mark.thorough("lets several processes share a catalog")

SHELL = Path(sys.executable).with_name("duckdb")
"""DuckDB's own command line, possibly of another version than the library."""
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


def shell_answer(path: Path) -> list[str]:
    """Return the answer of DuckDB's shell, which does not wait for locks and is repeated while a process writes."""
    command = [SHELL, "-readonly", "-csv", "-noheader", path, f"{SOURCES}; FROM best_variant"]
    give_up = time.monotonic() + PATIENCE_S
    while (asked := subprocess.run(command, check=False, capture_output=True, text=True)).returncode:
        assert "Could not set lock" in asked.stderr
        assert time.monotonic() < give_up
        time.sleep(0.01)
    return asked.stdout.split()


def test_a_notebook_and_the_shell_and_the_command_read_while_a_sweep_writes(shared: Store) -> None:
    is_over = event()
    readers = [
        started(ask_until, shared.uri, is_over),
        started(ask_duckdb_until, catalog_file(shared), is_over),
    ]
    sweep = started(write_and_fold, shared.uri, 1, 20, 5, None)
    command = [sys.executable, "-m", "ray_jobs.cli", "query", SOURCES, "--store", shared.uri, "--format", "csv"]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    of_shell = shell_answer(catalog_file(shared))
    finished(sweep)
    is_over.set()
    finished(*readers)
    for sources in (asked.stdout.split()[1:], of_shell):
        assert sources == [f"small-{number}" for number in range(len(sources))]
        assert sources
    assert_nothing_is_lost(shared, 20)


def test_a_sweep_continues_and_loses_nothing_while_the_shell_is_open(
    shared: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """`duckdb catalog.duckdb` has the lock of a writer until it exits; with `-readonly` it can read next to others."""
    shell = subprocess.Popen(
        [SHELL, "-csv", "-noheader", catalog_file(shared)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert shell.stdin is not None
    assert shell.stdout is not None
    print(f"{SOURCES};", file=shell.stdin, flush=True)
    assert shell.stdout.readline() == "small-0\n"
    before = catalog_file(shared).read_bytes()
    with patch.object(Store, "each_record", side_effect=AssertionError("records are read without a question")):
        write_and_fold(shared.uri, 1, 5, 4, False)
    with caplog.at_level(logging.WARNING), Catalog.open(shared) as catalog:
        assert len(catalog.query(SOURCES)) == 5
        assert "answering from a copy of it" in caplog.text
    print(f"{SOURCES};", file=shell.stdin, flush=True)
    assert shell.stdout.readline() == "small-0\n", "what it sees does not change under it"
    shell.communicate(".exit\n", timeout=PATIENCE_S)
    assert catalog_file(shared).read_bytes() == before
    assert_nothing_is_lost(shared, 5)
    assert shell_answer(catalog_file(shared)) == [f"small-{number}" for number in range(5)]


def test_a_file_that_is_being_written_to_is_answered_from_whole_copies(
    shared: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOCK_TIMEOUT_S", 0.1)
    with duckdb.connect(str(catalog_file(shared))) as connection:
        connection.execute("CREATE TABLE ours (number INTEGER, text VARCHAR)")
    is_over = event()
    writer = started(write_and_checkpoint_until, catalog_file(shared), is_over)
    states = set()
    while len(states) < 5:
        copy = snapshot_copy(catalog_file(shared), tmp_path)
        if copy is not None:
            states |= _states(copy)
            copy.unlink()
    shared.write_record(small_record(1))
    with Catalog.open(shared) as catalog:
        assert len(catalog.query(SOURCES)) == 2
        assert not catalog.fold().persisted
    is_over.set()
    finished(writer)
    with duckdb.connect(str(catalog_file(shared))) as connection:
        connection.execute("DROP TABLE ours")
    assert_nothing_is_lost(shared, 2)


def _states(copy: Path) -> set[int]:
    """Return the last transaction in a copy, after reading every row; nothing if checksums show that it is torn."""
    sql = "SELECT number, count(*), bit_xor(hash(text)) FROM ours GROUP BY number ORDER BY number"
    try:
        with duckdb.connect(str(copy), read_only=True) as connection:
            found = connection.execute(sql).fetchall()
    except duckdb.Error as err:
        if not connections.is_damage(err):
            raise
        return set()
    assert all(n_rows == 1000 for _, n_rows, _ in found)
    numbers = [number for number, _, _ in found]
    assert numbers == list(range(numbers[0], numbers[-1] + 1)) if numbers else True
    return {numbers[-1] if numbers else 0}


def test_a_torn_copy_is_detected_and_not_used_for_answers(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sql = "SELECT bit_xor(hash(evaluation_id, metric, value)) AS every, count(*) AS n FROM metrics"
    with Catalog.open(store) as catalog:
        expected = catalog.query(sql)
        (block,) = catalog.select("SELECT max(block_id) FROM pragma_storage_info('metrics')").rows[0]

    def torn(path: Path, folder: Path) -> Path | None:
        copy = snapshot_copy(path, folder)
        assert copy is not None
        with copy.open("r+b") as file:
            file.seek(HEADER_BYTES + block * 262144 + 1000)
            file.write(b"torn" * 1000)
        return copy

    monkeypatch.setattr("catalog.store.database_file.snapshot_copy", torn)
    monkeypatch.setattr(connections, "LOCK_TIMEOUT_S", 0.1)
    is_held, may_go = event(), event()
    holder = started(hold, catalog_file(store), is_held, may_go)
    assert is_held.wait(PATIENCE_S)
    with Catalog.open(store) as catalog:
        assert catalog.query(sql) == expected
    with Catalog.open(store) as catalog:
        exported = export_catalog(catalog, tmp_path / "export", format="parquet", only=["metrics"])
    assert exported.n_rows == {"metrics": expected[0]["n"]}
    may_go.set()
    finished(holder)
    assert "answering from memory" in caplog.text


def test_three_drivers_fold_into_one_store(shared: Store) -> None:
    """Their records overlap, like those of recipes with common variants."""
    drivers = [started(write_and_fold, shared.uri, 1 + 3 * n, 10 + 3 * n, 3, None) for n in range(3)]
    finished(*drivers)
    assert_nothing_is_lost(shared, 16)
