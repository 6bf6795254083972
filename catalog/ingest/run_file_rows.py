"""The rows that run files add to the catalog.

These tables describe how the work was done, not its results, so a comparison of two catalogs skips them.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping

from catalog.ingest.insert_rows import Connection, Row, insert_rows
from catalog.ingest.table_files import Table, declared_tables
from catalog.sql_files import statement
from mlprune.store.run_log_files import RunFileContent, kind_of, read_run_file, run_files, run_of
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
"""Tables of run files, in the order in which rows are inserted. A file counts as folded once one of the last six tables
has its row."""
TABLES: Mapping[str, str] = {
    "run": "runs",
    "ended": "run_ends",
    "environment": "run_environments",
    "job": "jobs",
    "failure": "failures",
}
"""Kind of a run file -> table with a row per file. Other kinds only show the progress of an active run."""
PACKED = "packed"
RunRows = dict[str, list[Row]]
"""Table -> rows."""


def unfolded_run_files(connection: Connection, store: Store) -> tuple[tuple[str, ...], bool]:
    """List the run files of a store, and find those that the catalog lacks.

    Returns: paths of the run files to fold; and whether the catalog has rows of files that no longer exist, in which
        case all files have to be folded again.
    """
    files = run_files(store)
    folded = {path for (path,) in connection.execute(statement("fold", "folded_run_files")).fetchall()}
    is_stale = not all(files.contains(path) for path in folded)
    paths = [*(path for path in files.single if kind_of(path) in TABLES), *files.packs]
    return tuple(path for path in paths if is_stale or path not in folded), is_stale


def run_rows(store: Store, paths: Iterable[str], *, at_least: int) -> Iterator[RunRows]:
    """Yield the rows of at least N files at a time; files that cannot be read are skipped, with a warning."""
    rows: RunRows = {}
    n_files = 0
    for path in paths:
        try:
            for name, content in read_run_file(store, path):
                _add(rows, name, content)
                n_files += 1
            if kind_of(path) == PACKED:
                rows.setdefault("run_packs", []).append({"run_file": path, "run_id": run_of(path)[0]})
        except FileNotFoundError:
            logger.info("%s has been packed in the meantime", path)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as err:
            logger.warning("run file %s cannot be read: %s", path, err)
        if n_files >= at_least:
            yield rows
            rows, n_files = {}, 0
    yield rows


def fold_run_rows(connection: Connection, rows: RunRows, *, errors: type[Exception]) -> None:
    """Insert rows; a row that does not fit its table is skipped, with a warning."""
    for name in RUN_TABLES:
        if name in rows:
            table = declared_tables()[name]
            try:
                insert_rows(connection, table, rows[name])
            except (errors, ValueError):
                _insert_one_by_one(connection, table, rows[name], errors=errors)


def _add(rows: RunRows, path: str, content: RunFileContent) -> None:
    """Add the rows of one file."""
    table = TABLES.get(kind_of(path))
    if table is None:
        return
    run_id, round_ = run_of(path)
    row = {"command": "run", **content, "run_id": run_id, "round": round_, "run_file": path}
    if table == "run_environments":
        packages = [{**row, "package": name, "version": version} for name, version in content["packages"].items()]
        rows.setdefault("environment_packages", []).extend(packages)
        rows.setdefault("environments", []).append(row)
    if table == "jobs":
        names = content.get("makes") or [(content.get("record_kind"), content.get("record_id"))]
        shared = {"run_file": path, "n_records": len(names)}
        records = [{**shared, "record_kind": kind, "record_id": record_id} for kind, record_id in names]
        rows.setdefault("job_records", []).extend(records)
    rows.setdefault(table, []).append(row)


def _insert_one_by_one(connection: Connection, table: Table, rows: Iterable[Row], *, errors: type[Exception]) -> None:
    for row in rows:
        try:
            insert_rows(connection, table, [row])
        except (errors, ValueError) as err:
            logger.warning("run file %s does not fit the catalog and is skipped: %s", row["run_file"], err)
