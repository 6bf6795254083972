import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from catalog.ingest.insert_rows import transaction
from catalog.store import connections
from catalog.store.connections import (
    InterruptibleConnection,
    connect,
    is_damage,
    is_locked,
    require_free,
    run_query,
    run_query_in_arrow,
)
from mlprune.errors import QueryError, StoreError
from tests.catalog.store_processes import held_by_another_process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.duckdb"
    with connect(path, read_only=False) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT unnest([1, 2]) AS n")
    return path


def test_a_locked_file_is_an_error_after_the_timeout(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LOCK_TIMEOUT_S", 0.2)
    with held_by_another_process(path, read_only=False):
        started_at = time.monotonic()
        with pytest.raises(duckdb.Error) as caught:
            connect(path, read_only=True)
    assert time.monotonic() - started_at >= 0.2
    assert is_locked(caught.value)
    assert not is_damage(caught.value)


def test_only_a_file_that_a_writer_has_open_may_not_be_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LOCK_TIMEOUT_S", 0.1)
    require_free(path)
    require_free(path.with_name("missing.duckdb"))
    with connect(path, read_only=True):
        require_free(path)
    with held_by_another_process(path, read_only=False), pytest.raises(StoreError) as caught:
        require_free(path)
    assert caught.value.context["path"] == str(path)


def test_a_file_that_is_not_a_database_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "catalog.duckdb"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(duckdb.Error) as caught:
        connect(path, read_only=True)
    assert is_damage(caught.value)
    assert not is_locked(caught.value)


def test_answers_are_the_same_as_rows_and_as_an_arrow_table(path: Path) -> None:
    sql = "SELECT n + $m AS n FROM numbers ORDER BY n"
    with connect(path, read_only=True) as connection:
        assert run_query(connection, sql, {"m": 1}, tables={}).rows == ((2,), (3,))
        assert run_query_in_arrow(connection, sql, {"m": 1}, tables={}).to_pydict() == {"n": [2, 3]}


def test_an_extra_table_exists_for_one_question_only(path: Path) -> None:
    table = pa.table({"n": [5]})
    with connect(path, read_only=True) as connection:
        assert run_query(connection, "SELECT n FROM extra", {}, tables={"extra": table}).rows == ((5,),)
        with pytest.raises(QueryError):
            run_query(connection, "SELECT n FROM extra", {}, tables={})


@pytest.mark.parametrize("sql", ["SELECT n FROM no_such_table", "SELECT no_such_column FROM numbers"])
def test_an_unknown_table_or_column_is_an_error_with_a_next_step(path: Path, sql: str) -> None:
    with connect(path, read_only=True) as connection:
        with pytest.raises(QueryError) as caught:
            run_query(connection, sql, {}, tables={})
        assert caught.value.context["next"] == connections.LIST_COLUMNS
        (listing,) = [part for part in connections.LIST_COLUMNS.split("; ") if part.startswith("SELECT")]
        assert ("numbers", "n") in run_query(connection, listing.partition(" lists ")[0], {}, tables={}).rows


ENDLESS = "SELECT sum(a.range * b.range) AS n FROM range(1000000) a, range(10000000) b"
WAITING: dict[str, Callable[[duckdb.DuckDBPyConnection], object]] = {
    "rows": lambda connection: run_query(connection, ENDLESS, {}, tables={}),
    "rows of a parameter": lambda connection: run_query(connection, f"{ENDLESS} WHERE $m", {"m": True}, tables={}),
    "arrow": lambda connection: run_query_in_arrow(connection, ENDLESS, {}, tables={}),
    "ingest": lambda connection: InterruptibleConnection(connection).execute(ENDLESS),
}


@contextmanager
def signal_once_busy(number: signal.Signals) -> Iterator[None]:
    """Send this process a signal once it has computed for a while, which an empty main thread does not.

    A process that was started in the background ignores interrupts until it asks for them.
    """
    is_over = threading.Event()
    handler = signal.getsignal(number)
    if handler is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler)

    def send() -> None:
        before = time.process_time()
        while time.process_time() < before + 0.3 and not is_over.wait(0.01):
            pass
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        signal.signal(number, handler)


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize("name", WAITING)
def test_a_signal_ends_a_statement_that_runs(name: str, path: Path) -> None:
    with connect(path, read_only=True) as connection:
        rescue = threading.Timer(120, connection.interrupt)
        rescue.start()
        with pytest.raises(KeyboardInterrupt), signal_once_busy(signal.SIGINT):
            WAITING[name](connection)
        rescue.cancel()
        assert run_query(connection, "SELECT count(*) AS n FROM numbers", {}, tables={}).rows == ((2,),)


def test_an_interrupt_ends_a_wait_whatever_libraries_do_with_it() -> None:
    """polars asks the system to restart what an interrupt ends. The child ends by an alarm if nothing else ends it."""
    code = """
import os, signal, threading
import polars
from catalog.store.connections import interruptible
signal.alarm(30)
threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
over = threading.Event()
class Statement:
    def interrupt(self):
        over.set()
try:
    interruptible(Statement(), over.wait)
except KeyboardInterrupt:
    print("interrupted")
"""
    # a process that is started in the background ignores interrupts until it asks for them
    asked = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    child = subprocess.run([sys.executable, "-c", asked + code], check=False, capture_output=True, text=True)
    assert (child.stdout, child.returncode) == ("interrupted\n", 0), child.stderr


def insert_endlessly(connection: InterruptibleConnection) -> None:
    with transaction(connection):
        connection.execute("INSERT INTO numbers VALUES (3)")
        connection.execute(ENDLESS)


def test_a_fold_that_a_signal_ends_is_rolled_back(path: Path) -> None:
    with connect(path, read_only=False) as opened:
        connection = InterruptibleConnection(opened)
        with pytest.raises(KeyboardInterrupt), signal_once_busy(signal.SIGINT):
            insert_endlessly(connection)
        assert connection.execute("SELECT n FROM numbers ORDER BY n").fetchall() == [(1,), (2,)]
