"""Tables as text, and as files in a folder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.sql_files import statement
from catalog.store import Catalog
from catalog.tables.csv_text import intervals_to_csv, values_to_csv
from catalog.tables.grid import Grid, interval_grid, value_grid
from catalog.tables.latex import to_latex
from catalog.tables.markdown import to_markdown
from catalog.tables.spec import TableSpec
from catalog.tables.table import Table, build_table
from mlprune.atomic import remove_left_over, write_atomically
from mlprune.errors import BadInputError, QueryError, unknown

INTERVALS = "-intervals"
"""End of the name of the file with the intervals of a table."""


@dataclass(frozen=True)
class TableFormat:
    """A format of tables."""

    suffix: str
    render: Callable[[Table], Iterator[str]]
    """The text of the values, then that of the intervals if there are any."""


def _of_grids(render: Callable[[Grid], str]) -> Callable[[Table], Iterator[str]]:
    def rendered(table: Table) -> Iterator[str]:
        yield render(value_grid(table))
        intervals = interval_grid(table)
        if intervals is not None:
            yield render(intervals)

    return rendered


def _csv(table: Table) -> Iterator[str]:
    yield values_to_csv(table)
    if interval_grid(table) is not None:
        yield intervals_to_csv(table)


FORMATS: Mapping[str, TableFormat] = {
    "latex": TableFormat("tex", _of_grids(to_latex)),
    "markdown": TableFormat("md", _of_grids(to_markdown)),
    "csv": TableFormat("csv", _csv),
}


@dataclass(frozen=True)
class BuiltTables:
    """Tables that have values, and one line about each that has none and about missing rows and columns."""

    tables: tuple[Table, ...]
    notes: tuple[str, ...]


def build_tables(catalog: Catalog, specs: Sequence[TableSpec]) -> BuiltTables:
    """Read all tables from the catalog.

    Raises:
        QueryError: no table has a value.
    """
    tables: list[Table] = []
    notes: list[str] = []
    for spec in specs:
        table = build_table(catalog, spec)
        if table is None:
            notes.append(f"{spec.name}: not written, the store has no {_wanted(spec)}; it has {_present(catalog)}")
        else:
            tables.append(table)
            notes.extend(table.notes)
    if not tables:
        raise QueryError("no table has a value", expected=[_wanted(spec) for spec in specs], got=_present(catalog))
    return BuiltTables(tuple(tables), tuple(notes))


def table_format(name: str) -> TableFormat:
    """Return a format by its name.

    Raises:
        BadInputError: it is unknown.
    """
    if name not in FORMATS:
        raise unknown("format of tables", name, FORMATS, error=BadInputError)
    return FORMATS[name]


def render_tables(tables: Sequence[Table], format_name: str) -> str:
    """Return all tables in one format, separated by empty lines."""
    render = table_format(format_name).render
    return "\n\n".join(text for table in tables for text in render(table))


def write_tables(tables: Sequence[Table], folder: Path, *, formats: Sequence[str]) -> Iterator[Path]:
    """Write the tables, and yield the path of each file after it is written.

    Args:
        folder: is created; files with the same names are replaced.
    Raises:
        BadInputError: a format is unknown, or a file cannot be written.
    """
    chosen = [table_format(name) for name in formats]
    for table in tables:
        for format_ in chosen:
            for end, text in zip(("", INTERVALS), format_.render(table), strict=False):
                path = folder / f"{table.spec.name}{end}.{format_.suffix}"
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    remove_left_over(path)
                    write_atomically(path, f"{text}\n".encode())
                except OSError as err:
                    raise BadInputError("a table cannot be written", path=str(path), reason=err.strerror) from err
                yield path


def _wanted(spec: TableSpec) -> str:
    return f"{spec.metric} of {spec.task} ({spec.split})"


def _present(catalog: Catalog) -> str:
    """The tasks, splits and metrics of the store as text."""
    rows = catalog.query(statement("tables", "measured_tasks"))
    texts = [f"{row['metrics']} of {row['task']} ({row['split']})" for row in rows]
    return "; ".join(texts) or "no metrics"
