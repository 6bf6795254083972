"""What other processes do to one store: write and fold, ask, hold the catalog file."""

import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import duckdb

from catalog.store import Catalog
from mlprune.store.records import Record, identity
from mlprune.store.store import Store

PATIENCE_S = 120.0
"""On a busy machine."""
_server = get_context("forkserver")
"""Where tests of runs have prepared one, its processes need not import everything anew."""
Process = Any


def started(work: Callable[..., None], *arguments: Any) -> Process:
    """A process that does it."""
    process = _server.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def finished(*processes: Process) -> None:
    """Wait for them, and see that all ended well."""
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
    """Write records one by one, as a sweep does, and fold now and then; `persisted` is what every fold has to say."""
    store = Store(uri)
    for number in range(first, last):
        store.write_record(small_record(number))
        if number % fold_every == fold_every - 1:
            with Catalog.open(store) as catalog:
                result = catalog.fold()
                assert persisted in (None, result.persisted)


def ask_until(uri: str, is_over: Any) -> None:
    """Ask like a notebook: again and again, and never see less than before."""
    seen = 0
    while not is_over.is_set():
        with Catalog.open(Store(uri)) as catalog:
            (row,) = catalog.query("SELECT count(*) AS n, count(DISTINCT source) AS sources FROM base_models")
            assert row["n"] == row["sources"] >= seen
            seen = row["n"]
        time.sleep(0.05)


def ask_duckdb_until(path: Path, is_over: Any) -> None:
    """Ask with DuckDB's own client, which waits for nobody; it has to get its turn."""
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


def write_and_checkpoint_until(path: Path, is_over: Any) -> None:
    """Hold the file and write to the table `ours`: a thousand rows each time, and now and then old ones go."""
    with duckdb.connect(str(path)) as connection:
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
    """Hold the file open for writing, as `duckdb catalog.duckdb` does."""
    with duckdb.connect(str(path)):
        is_held.set()
        assert may_go.wait(PATIENCE_S)
