"""Run files as rows: which files become rows of which tables, and which of them a catalog has not folded yet.

None of these tables is compared when two catalogs are: they tell how the work was done, not what came of it.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from catalog.ingest.insert_rows import insert_rows
from catalog.ingest.table_files import Table, declared_tables
from catalog.ingest.transactions import Connection
from catalog.sql_files import statement
from mlprune.store.run_log_files import kind_of, read_run_file, run_files, run_of
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

RUN_TABLES = (
    "environments",
    "environment_packages",
    "job_records",
    "runs",
    "run_ends",
    "run_environments",
    "jobs",
    "failures",
    "run_packs",
)
"""Tables folded from run files, in the order in which rows are added: a file counts as folded by its row in one of the
later ones. They are not compared when two catalogs are."""
TABLES: Mapping[str, str] = {
    "run": "runs",
    "ended": "run_ends",
    "environment": "run_environments",
    "job": "jobs",
    "failure": "failures",
}
"""Kind of a run file -> the table that has a row for each; other kinds tell only a running run how far it is."""
PACKED = "packed"

Rows = dict[str, list[dict[str, Any]]]


def not_folded(connection: Connection, store: Store) -> tuple[tuple[str, ...], bool]:
    """Which run files are to be folded: one listing, compared with the catalog.

    Returns: their paths; and whether the catalog holds rows of files that are gone, in which case they are all paths.
    """
    found = run_files(store)
    known = {path for (path,) in connection.execute(statement("fold", "folded_run_files")).fetchall()}
    are_left = not all(map(found.holds, known))
    paths = [*(one for one in found.single if kind_of(one) in TABLES), *found.packs]
    return tuple(path for path in paths if are_left or path not in known), are_left


def run_rows(store: Store, paths: Iterable[str], *, at_least: int) -> Iterator[Rows]:
    """Rows by table, of some thousand files at a time; a file that cannot be read is left out, with a warning."""
    rows: Rows = {}
    n_files = 0
    for path in paths:
        try:
            for name, value in read_run_file(store, path):
                _add(rows, name, value)
                n_files += 1
            if kind_of(path) == PACKED:
                rows.setdefault("run_packs", []).append({"run_file": path, "run_id": run_of(path)[0]})
        except FileNotFoundError:
            logger.info("%s is packed by now", path)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as err:
            logger.warning("run file %s cannot be read: %s", path, err)
        if n_files >= at_least:
            yield rows
            rows, n_files = {}, 0
    yield rows


def fold_run_rows(connection: Connection, rows: Rows, *, errors: type[Exception]) -> None:
    """Add rows; one that does not fit its table is left out, with a warning."""
    known = declared_tables()
    for name in RUN_TABLES:
        if name in rows:
            try:
                insert_rows(connection, known[name], rows[name])
            except (errors, ValueError):
                _insert_one_by_one(connection, known[name], rows[name], errors=errors)


def _add(rows: Rows, path: str, value: dict[str, Any]) -> None:
    """Add the rows of one file."""
    table = TABLES.get(kind_of(path))
    if table is None:
        return
    run_id, round_ = run_of(path)
    row = {"command": "run", **value, "run_id": run_id, "round": round_, "run_file": path}
    if table == "run_environments":
        packages = [{**row, "package": name, "version": version} for name, version in value["packages"].items()]
        rows.setdefault("environment_packages", []).extend(packages)
        rows.setdefault("environments", []).append(row)
    if table == "jobs":
        made = value.get("makes") or [(value.get("record_kind"), value.get("record_id"))]
        same = {"run_file": path, "n_records": len(made)}
        records = [{**same, "record_kind": kind, "record_id": record_id} for kind, record_id in made]
        rows.setdefault("job_records", []).extend(records)
    rows.setdefault(table, []).append(row)


def _insert_one_by_one(
    connection: Connection, table: Table, rows: list[dict[str, Any]], *, errors: type[Exception]
) -> None:
    for row in rows:
        try:
            insert_rows(connection, table, [row])
        except (errors, ValueError) as err:
            logger.warning("run file %s does not fit the catalog and is left out: %s", row["run_file"], err)
