"""Other processes that use a store: they write and fold, query, or have the catalog file open."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import duckdb

from catalog.store import Catalog
from mlprune.store.records import Record, identity
from mlprune.store.store import Store

PATIENCE_S = 600.0
"""Timeout for a busy machine."""
_server = get_context("forkserver")
"""Start method of processes: a server that tests of runs have prepared with imported modules, if there is one."""
Process = Any


def started(work: Callable[..., None], *arguments: Any) -> Process:
    """Return a process that runs a function."""
    process = _server.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def finished(*processes: Process) -> None:
    """Wait for all processes, and check that they succeeded."""
    for process in processes:
        process.join(PATIENCE_S)
        assert process.exitcode == 0, process


def event() -> Any:
    """A flag that processes share."""
    return _server.Event()


def small_record(number: int) -> Record:
    parameters = {"number": number}
    record_id = identity("base_models", step_version=1, parameters=parameters)
    row = {"base_model_id": record_id, "source": f"small-{number}", "family": "gpt2", "n_blocks": number}
    return Record("base_models", record_id, 1, parameters, rows={"base_models": [row]})


def write_and_fold(uri: str, first: int, last: int, fold_every: int, persisted: bool | None) -> None:
    """Write records one by one, as a sweep does, and fold now and then; every fold returns `persisted`."""
    store = Store(uri)
    for number in range(first, last):
        store.write_record(small_record(number))
        if number % fold_every == fold_every - 1:
            with Catalog.open(store) as catalog:
                result = catalog.fold()
                assert persisted in (None, result.persisted)


def ask_until(uri: str, is_over: Any) -> None:
    """Query repeatedly, like a notebook, and never get fewer rows than before."""
    seen = 0
    while not is_over.is_set():
        with Catalog.open(Store(uri)) as catalog:
            (row,) = catalog.query("SELECT count(*) AS n, count(DISTINCT source) AS sources FROM base_models")
            assert row["n"] == row["sources"] >= seen
            seen = row["n"]
        time.sleep(0.05)


def ask_duckdb_until(path: Path, is_over: Any) -> None:
    """Query with DuckDB's own client, which does not wait for locks, until it gets one."""
    n_answers = seen = 0
    while not is_over.is_set() or not n_answers:
        try:
            with duckdb.connect(str(path), read_only=True) as connection:
                (n,) = connection.execute("SELECT count(*) FROM base_models").fetchone() or (0,)
        except duckdb.Error:
            time.sleep(0.01)
            continue
        assert n >= seen
        seen, n_answers = n, n_answers + 1
        time.sleep(0.05)


def write_and_checkpoint_until(path: Path, is_over: Any, is_held: Any = None) -> None:
    """Keep the file open and write to the table `ours`: insert a thousand rows each time, sometimes delete old ones.

    Args:
        is_held: set once the file is open. Opening the file to find out would keep this process from it.
    """
    with duckdb.connect(str(path)) as connection:
        if is_held is not None:
            is_held.set()
        number = 0
        while not is_over.is_set():
            number += 1
            connection.execute(
                "INSERT INTO ours SELECT $number, repeat(hash(range, $number)::VARCHAR, 20) FROM range(1000)",
                {"number": number},
            )
            if number % 5 == 0:
                connection.execute("DELETE FROM ours WHERE number < $old", {"old": number - 10})
            if number % 3 == 0:
                connection.execute("CHECKPOINT")


def hold(path: Path, is_held: Any, may_go: Any) -> None:
    """Keep the file open for writing, as `duckdb catalog.duckdb` does."""
    with duckdb.connect(str(path)):
        is_held.set()
        assert may_go.wait(PATIENCE_S)


@contextmanager
def held_by_another_process(path: Path, *, read_only: bool) -> Iterator[None]:
    """Have a process of its own keep a database open."""
    code = (
        "import duckdb, sys\n"
        f"connection = duckdb.connect({str(path)!r}, read_only={read_only})\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        process.communicate()
