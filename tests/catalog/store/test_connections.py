import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from catalog.store import connections
from catalog.store.connections import connect, is_damage, is_locked, require_free, run_query, run_query_in_arrow
from mlprune.errors import QueryError, StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.duckdb"
    with connect(path, read_only=False) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT unnest([1, 2]) AS n")
    return path


@contextmanager
def opened_by_a_writer(path: Path) -> Iterator[None]:
    code = f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('open', flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    try:
        yield
    finally:
        process.communicate()


def test_a_locked_file_is_an_error_after_the_timeout(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LOCK_TIMEOUT_S", 0.2)
    with opened_by_a_writer(path):
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
    with opened_by_a_writer(path), pytest.raises(StoreError) as caught:
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
