"""Tables as LaTeX, Markdown and CSV, as text and as files in a folder."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.capabilities.tables.spec import TableSpec
from catalog.capabilities.tables.table import (
    MISSING,
    Block,
    Grid,
    GridCell,
    Table,
    TableRow,
    build_table,
    interval_grid,
    value_grid,
)
from catalog.results import QueryResult, Value, to_csv
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.atomic import remove_left_over, write_atomically
from mlprune.errors import BadInputError, QueryError, unknown

_LABELS = ("model", "method", "sparsity")
_INTERVAL = ("low", "high", "n", "p_corrected")
_ESCAPED: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "^": r"\textasciicircum{}",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "%": r"\%",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "*": r"$^{*}$",
    "†": r"$^{\dagger}$",
    "–": "--",
    "−": "--",
}
"""Character -> text that prints it. The marks become superscripts."""
INTERVALS = "-intervals"
"""End of the name of the file with the intervals of a table."""


def values_to_csv(table: Table) -> str:
    """Format one line per row: model, method, sparsity, a value per column, and the id of the variant."""
    header = (*_LABELS, *table.value_columns, "variant_id")
    rows = (
        (*_labels(block, row), *(row.value(column) for column in table.value_columns), row.variant.variant_id)
        for block, row in _rows(table)
    )
    return to_csv(QueryResult(header, tuple(rows)))


def intervals_to_csv(table: Table) -> str:
    """Format one line per row with `<column>_low`, `<column>_high`, `<column>_n` and `<column>_p_corrected`."""
    header = (*_LABELS, *(f"{column}_{part}" for column in table.columns for part in _INTERVAL), "variant_id")
    rows = (
        (
            *_labels(block, row),
            *(value for column in table.columns for value in _interval(row, column)),
            row.variant.variant_id,
        )
        for block, row in _rows(table)
    )
    return to_csv(QueryResult(header, tuple(rows)))


def _rows(table: Table) -> list[tuple[Block, TableRow]]:
    return [(block, row) for block in table.blocks for row in block.rows]


def _labels(block: Block, row: TableRow) -> tuple[Value, ...]:
    return (block.model, row.label, row.variant.row["sparsity"])


def _interval(row: TableRow, column: str) -> tuple[Value, ...]:
    cell = row.cell(column)
    return (None,) * len(_INTERVAL) if cell is None else (cell.ci_low, cell.ci_high, cell.n, cell.p_corrected)


def to_latex(grid: Grid) -> str:
    """Format as a `table` environment, below a comment that names the package it needs."""
    columns = "l" * grid.n_labels + "r" * (len(grid.header) - grid.n_labels)
    blocks = ["\n".join(" & ".join(map(_cell, row)) + r" \\" for row in block) for block in grid.blocks]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs} in the preamble",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(grid.caption)}}}",
            rf"\label{{tab:{grid.name}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(escape(text) for text in grid.header) + r" \\",
            r"\midrule",
            "\n\\midrule\n".join(blocks),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def escape(text: str) -> str:
    """Return a text that LaTeX prints as it is, on one line."""
    return "".join(_ESCAPED.get(character, character) for character in " ".join(text.split()))


def _cell(cell: GridCell) -> str:
    text = escape(cell.text)
    is_bold = cell.is_bold and cell.text != MISSING
    return (rf"\textbf{{{text}}}" if is_bold else text) + escape(cell.mark)


def to_markdown(grid: Grid) -> str:
    """Format as a pipe table, with the caption above it."""
    rows = [[_escape(text) for text in grid.header]]
    rows += [[_markdown_cell(cell) for cell in row] for block in grid.blocks for row in block]
    widths = [max(3, *(_width(row[i]) for row in rows)) for i in range(len(grid.header))]
    is_number = [i >= grid.n_labels for i in range(len(grid.header))]
    rule = [("-" * (width - 1) + ":") if right else "-" * width for width, right in zip(widths, is_number, strict=True)]
    lines = [_markdown_line(row, widths, is_number) for row in (rows[0], rule, *rows[1:])]
    return "\n".join([_escape(grid.caption), "", *lines])


def _markdown_line(row: list[str], widths: list[int], is_number: list[bool]) -> str:
    padded = [
        " " * (width - _width(text)) + text if right else text + " " * (width - _width(text))
        for text, width, right in zip(row, widths, is_number, strict=True)
    ]
    return f"| {' | '.join(padded)} |"


def _markdown_cell(cell: GridCell) -> str:
    text = _escape(cell.text)
    is_bold = cell.is_bold and cell.text != MISSING
    return (f"**{text}**" if is_bold else text) + _escape(cell.mark)


def _escape(text: str) -> str:
    escaped = "".join(f"\\{character}" if character in "\\|*_`<" else character for character in text)
    return " ".join(escaped.split())


def _width(text: str) -> int:
    """Number of columns of a terminal that a text takes."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


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
