"""Measure the catalog at scale: rows folded per second, and every named query over 100,000 variants.

python tests/benchmarks/catalog_scale.py                 100,000 variants, 10 million metric rows; 5 minutes and 6 GB
python tests/benchmarks/catalog_scale.py --small         1,000 variants, to check that the benchmark runs

The fold reads real records in segments, made by a generator. The queries run on a catalog whose rows are made by SQL,
because generating ten million rows as records would take longer than all measurements together. Queries use a
connection like that of `mlprune query`, warm, with default parameters. Two times are reported: until DuckDB has the
result, and until every row is a Python tuple.
"""

import argparse
import json
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import duckdb

sys.path.insert(0, str(Path(__file__).parents[2]))

from catalog.ingest.insert_rows import refresh_all
from catalog.sql_files import NamedQuery, list_queries
from catalog.store import Catalog
from catalog.store.connections import connect
from catalog.store.database_file import FILE_NAME
from catalog.store.item_answers import MACRO
from mlprune.store.records import Artefact, Record, identity
from mlprune.store.segments import segment_bytes
from mlprune.store.store import Store
from tests.catalog.store_processes import PATIENCE_S, event, finished, started, write_and_checkpoint_until

METRICS = ("accuracy", "f1_macro", "f1_weighted", "precision_macro", "recall_macro", "ece")
LANGUAGES = ("en", "fr", "es", "sw", "de", "zh", "ar", "hi")
SEGMENT_RECORDS = 20_000
EVALUATIONS_PER_VARIANT = 2 * len(LANGUAGES)

FILL = Path(__file__).with_suffix(".sql")


def evaluation_records(n_records: int) -> Iterator[Record]:
    """Generate records of evaluations, each with seven rows, one parent and one artefact."""
    for number in range(n_records):
        variant = f"{number // EVALUATIONS_PER_VARIANT:020x}"
        parameters = {"task": "facts", "language": LANGUAGES[number % 8], "number": number, "batch_tokens": 4096}
        parents = {"variant": variant}
        record_id = identity("evaluations", step_version=1, parameters=parameters, parents=parents)
        keys = {"evaluation_id": record_id, "variant_id": variant, "task": "facts", "language": LANGUAGES[number % 8]}
        keys |= {"split": "test"}
        more = {"scoring_rule": "mean", "prompt_language": "en", "example_limit": None, "n_examples": 1000}
        more |= {"protocol_id": "facts", "prompts": "en", "limit_seed": 0}
        values = [(name, ((number * 7919 + place * 104729) % 100003) / 100003) for place, name in enumerate(METRICS)]
        metrics = [
            {**keys, "metric": name, "value": value, "ci_low": value - 0.03, "ci_high": value + 0.03, "n": 1000}
            for name, value in values
        ]
        artefact = Artefact(f"predictions/{record_id}.parquet", 12345, record_id * 3 + "0000", 3000)
        rows = {"evaluations": [{**keys, **more}], "metrics": metrics}
        yield Record("evaluations", record_id, 1, parameters, parents, artefacts=(artefact,), rows=rows)


def fold_figures(folder: Path, n_records: int) -> dict[str, Any]:
    """Fold records in segments into a catalog that already has its tables."""
    store = Store(folder / "folded")
    with Catalog.open(store) as catalog:
        catalog.fold()
    lines = sorted((one.id, one.to_line().encode()) for one in evaluation_records(n_records))
    for start in range(0, n_records, SEGMENT_RECORDS):
        path = f"records/evaluations/segments/{start:016x}.jsonl.zst"
        store.write_bytes(path, segment_bytes(lines[start : start + SEGMENT_RECORDS]))
    del lines
    started, cpu = perf_counter(), process_time()
    with Catalog.open(store) as catalog:
        done = catalog.fold()
    seconds, cpu = perf_counter() - started, process_time() - cpu
    with Catalog.open(store) as catalog:
        again = perf_counter()
        catalog.fold()
        again = perf_counter() - again
    held = figures_while_locked(store)
    return {
        "records": done.n_records,
        "rows": done.n_rows,
        "seconds": round(seconds, 2),
        "rows_a_second": round(done.n_rows / seconds),
        "rows_a_cpu_second": round(done.n_rows / cpu),
        "fold_of_nothing_s": round(again, 3),
        **held,
    }


def figures_while_locked(store: Store) -> dict[str, float]:
    """Query a catalog while another process writes to it; then a catalog in memory."""
    path, sql = catalog_file(store), "SELECT count(*) AS n FROM metrics"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE ours (number INTEGER, text VARCHAR)")
    is_over, is_held = event(), event()
    writer = started(write_and_checkpoint_until, path, is_over, is_held)
    if not is_held.wait(PATIENCE_S):
        raise TimeoutError("the writing process did not open the catalog")
    seconds = []
    for opened in (Catalog.open(store), Catalog.in_memory(store)):
        begun = perf_counter()
        with opened as catalog:
            catalog.query(sql)
        seconds.append(round(perf_counter() - begun, 2))
    is_over.set()
    finished(writer)
    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP TABLE ours")
    return dict(zip(("answer_while_held_s", "answer_from_memory_s"), seconds, strict=True))


def catalog_file(store: Store) -> Path:
    """The catalog of a store in a folder."""
    assert store.local_root is not None
    return store.local_root / FILE_NAME


def make_catalog(folder: Path, n_variants: int, *, memory_limit: str) -> float:
    """Write a synthetic catalog and return the elapsed seconds."""
    with Catalog.open(Store(folder)) as catalog:
        catalog.fold()
    started = perf_counter()
    with duckdb.connect(str(folder / FILE_NAME)) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SET memory_limit = '{memory_limit}'")
        connection.execute(f"SET VARIABLE n_variants = {n_variants}")
        connection.execute(FILL.read_text("utf-8"))
        refresh_all(connection)  # as at the end of a fold
        connection.execute("CHECKPOINT")
    return perf_counter() - started


def query_figures(folder: Path, *, repeat: int) -> dict[str, Any]:
    """Median seconds of every named query on the synthetic catalog in a folder."""
    figures: dict[str, Any] = {"file_gib": round((folder / FILE_NAME).stat().st_size / 2**30, 2)}
    with connect(folder / FILE_NAME, read_only=True) as connection:
        for table in ("variants", "metrics"):
            (figures[table],) = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
        (figures["comparisons"],) = connection.execute("SELECT count(*) FROM internal.comparisons").fetchone() or (0,)
        examples = connection.execute("SELECT * FROM metrics LIMIT 1 OFFSET 5000").fetchone() or ()
        known = dict(zip((column[0] for column in connection.description), examples, strict=True))
        (known["environment_id"],) = connection.execute("SELECT min(environment_id) FROM environments").fetchone() or ()
        figures["queries"] = {
            query.name: _timed(connection, query.sql, _parameters(query, known), repeat=repeat)
            for query in list_queries()
            if not query.reads and MACRO not in query.sql  # these read predictions, which are files of the store
        }
    found = figures["queries"]
    figures["median_of_medians_s"] = median(one["median_s"] for one in found.values())
    figures["slower_than_200_ms"] = [name for name, one in found.items() if one["median_s"] > 0.2]
    figures["without_an_answer"] = [name for name, one in found.items() if not one["rows"]]
    return figures


def _parameters(query: NamedQuery, known: dict[str, Any]) -> dict[str, Any]:
    return {one.name: known[one.name] if one.required else one.default for one in query.parameters}


def _timed(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, Any], *, repeat: int
) -> dict[str, Any]:
    """Seconds until DuckDB has the result and until every row is a Python tuple; the first run is separate."""
    found = [_once(connection, sql, parameters) for _ in range(repeat + 1)]
    answered, fetched, cpu, n_rows = zip(*found[1:], strict=True)
    return {
        "median_s": round(median(answered), 3),
        "cpu_s": round(median(cpu), 3),
        "with_rows_s": round(median(fetched), 3),
        "first_s": round(found[0][0], 3),
        "rows": n_rows[0],
    }


def _once(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, Any]
) -> tuple[float, float, float, int]:
    started, cpu = perf_counter(), process_time()
    connection.execute(sql, parameters or None)
    answered, cpu = perf_counter() - started, process_time() - cpu
    n_rows = len(connection.fetchall())
    return answered, perf_counter() - started, cpu, n_rows


def main() -> None:
    """Measure and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--small", action="store_true", help="1,000 variants, to check that the benchmark runs")
    parser.add_argument("--variants", type=int, help="number of variants")
    parser.add_argument("--repeat", type=int, default=5, help="number of runs of each query after the first")
    parser.add_argument("--only", choices=("fold", "query"), help="measure only one part")
    parser.add_argument("--memory-limit", default="4GB", help="memory limit of DuckDB")
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder, which needs 6 GB")
    parser.add_argument("--catalog", type=Path, help="query the catalog in this folder; it is created if missing")
    options = parser.parse_args()
    n_variants = options.variants or (1_000 if options.small else 100_000)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="mlprune-scale-", dir=options.folder) as name:
        if options.only != "query":
            figures["fold"] = fold_figures(Path(name), min(200_000, n_variants * EVALUATIONS_PER_VARIANT))
        if options.only != "fold":
            folder = options.catalog or Path(name) / "queried"
            if not (folder / FILE_NAME).exists():
                figures["made_s"] = round(make_catalog(folder, n_variants, memory_limit=options.memory_limit))
            figures["query"] = query_figures(folder, repeat=options.repeat)
    figures["peak_memory_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    print(json.dumps(figures, indent=1).replace("\n    ", " ").replace("\n   }", "}"))


if __name__ == "__main__":
    main()
