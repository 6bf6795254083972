"""A table as texts in a grid, which the formats for publications share."""

from collections.abc import Callable
from dataclasses import dataclass

from catalog.tables.caption import BETTER, WORSE, interval_caption, value_caption
from catalog.tables.cells import Cell
from catalog.tables.spec import is_fraction
from catalog.tables.table import MACRO, Table, TableRow, best_values
from mlprune.vocabulary import is_higher_better

MISSING = "–"
"""Text of a cell without a value."""


@dataclass(frozen=True)
class GridCell:
    """One text."""

    text: str
    is_bold: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Grid:
    """A table of texts."""

    name: str
    caption: str
    n_labels: int
    """Number of columns from the left that have labels; the others have numbers."""
    header: tuple[str, ...]
    blocks: tuple[tuple[tuple[GridCell, ...], ...], ...]
    """Blocks of rows of cells."""


def value_grid(table: Table) -> Grid:
    """Lay out the values: bold for the best of a column and block, and marks for significant differences."""
    blocks = []
    for block in table.blocks:
        best = {column: _number(table, value) for column, value in best_values(table, block).items()}

        def text(row: TableRow, column: str, best: dict[str, str] = best) -> GridCell:
            shown = _number(table, row.value(column))
            cell = None if column == MACRO else row.cell(column)
            return GridCell(shown, shown == best.get(column), _mark(table, cell))

        blocks.append(_laid_out(table, block.model, rows=block.rows, columns=table.value_columns, text=text))
    return Grid(table.spec.name, value_caption(table), 3, _header(table, table.value_columns), tuple(blocks))


def interval_grid(table: Table) -> Grid | None:
    """Lay out the intervals of the same cells; None if the catalog has no intervals of the metric."""
    cells = [row.cell(column) for row in table.rows for column in table.columns]
    if all(cell is None or cell.ci_low is None for cell in cells):
        return None

    def text(row: TableRow, column: str) -> GridCell:
        cell = row.cell(column)
        if cell is None or cell.ci_low is None or cell.ci_high is None:
            return GridCell(MISSING)
        return GridCell(f"{_number(table, cell.ci_low)} to {_number(table, cell.ci_high)}")

    blocks = tuple(
        _laid_out(table, block.model, rows=block.rows, columns=table.columns, text=text) for block in table.blocks
    )
    return Grid(f"{table.spec.name}-intervals", interval_caption(table), 3, _header(table, table.columns), blocks)


def _header(table: Table, columns: tuple[str, ...]) -> tuple[str, ...]:
    return ("model", "method", "sparsity", *columns)


def _laid_out(
    table: Table,
    model: str,
    *,
    rows: tuple[TableRow, ...],
    columns: tuple[str, ...],
    text: Callable[[TableRow, str], GridCell],
) -> tuple[tuple[GridCell, ...], ...]:
    """Rows of a block, with the model in the first one only."""
    return tuple(
        (
            GridCell(model if place == 0 else ""),
            GridCell(row.label),
            GridCell(_sparsity(row)),
            *(text(row, column) for column in columns),
        )
        for place, row in enumerate(rows)
    )


def _sparsity(row: TableRow) -> str:
    sparsity = row.variant.row["sparsity"]
    return f"{sparsity:.3g}" if sparsity else MISSING


def _number(table: Table, value: float | None) -> str:
    if value is None:
        return MISSING
    return f"{100 * value:.1f}" if is_fraction(table.spec.metric) else f"{value:.2f}"


def _mark(table: Table, cell: Cell | None) -> str:
    if not table.spec.marks or cell is None or cell.p_holm is None or cell.difference is None:
        return ""
    if cell.p_holm >= table.spec.alpha:
        return ""
    return BETTER if (cell.difference > 0) == is_higher_better(table.spec.metric) else WORSE
