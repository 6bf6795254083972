"""Tables as CSV, with values in full precision as the catalog has them."""

from catalog.results import QueryResult, Value, to_csv
from catalog.tables.table import Block, Table, TableRow

_LABELS = ("model", "method", "sparsity")
_INTERVAL = ("low", "high", "n", "p_holm")


def values_to_csv(table: Table) -> str:
    """Format one line per row: model, method, sparsity, a value per column, and the id of the variant."""
    header = (*_LABELS, *table.value_columns, "variant_id")
    rows = (
        (*_labels(block, row), *(row.value(column) for column in table.value_columns), row.variant.variant_id)
        for block, row in _rows(table)
    )
    return to_csv(QueryResult(header, tuple(rows)))


def intervals_to_csv(table: Table) -> str:
    """Format one line per row with `<column>_low`, `<column>_high`, `<column>_n` and `<column>_p_holm`."""
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
    return (None,) * len(_INTERVAL) if cell is None else (cell.ci_low, cell.ci_high, cell.n, cell.p_holm)
