"""Preview of a result: the columns that fit on one line per row."""

from dataclasses import replace

from catalog.results import QueryResult
from catalog.terminal.folded_text import folded, width_of
from catalog.terminal.result_table import LEAST_WIDTH, SHORT_ID, format_text
from catalog.terminal.row_table import GAP, full_widths, row_table
from catalog.terminal.shown_columns import ShownColumn, shown_columns
from catalog.visible_text import visible
from mlprune.counted import counted

MAX_TEXT = 40
"""Characters of a text that are shown."""


def preview(result: QueryResult, *, width: int, n_rows: int) -> str:
    """Format rows as text without a final line break: one line per row, and the names of the columns without room.

    Args:
        result: the first rows.
        width: cells of a line.
        n_rows: number of all rows.
    """
    width = max(width, LEAST_WIDTH)
    if not result.rows:
        return format_text(f"No rows; the columns are {', '.join(result.columns)}", width=width)
    named = QueryResult(tuple(visible(name).replace("\n", " ") for name in result.columns), result.rows)
    columns = [_cut(column) for column in shown_columns(named, digits=None, id_length=SHORT_ID)]
    kept = _fitting(columns, width)
    shown = f"the first {len(result.rows)} of {n_rows:,} rows" if len(result.rows) < n_rows else counted(n_rows, "row")
    left_out = [column.name for column in columns if column not in kept]
    note = "; ".join([shown, *([f"more columns: {', '.join(left_out)}"] if left_out else [])])
    return "\n".join([*row_table(kept, full_widths(kept)), "", *folded(note, width)])


def _fitting(columns: list[ShownColumn], width: int) -> list[ShownColumn]:
    """Return the first columns that fit next to each other, without empty ones; always the first."""
    kept: list[ShownColumn] = []
    for column in columns:
        if not column.is_empty and (not kept or _line_width([*kept, column]) <= width):
            kept.append(column)
    return kept or columns[:1]


def _line_width(columns: list[ShownColumn]) -> int:
    return sum(full_widths(columns)) + width_of(GAP) * (len(columns) - 1)


def _cut(column: ShownColumn) -> ShownColumn:
    """Shorten long texts and remove their line breaks."""
    if column.kind.is_number:
        return column
    texts = [" ".join(text.split()) for text in column.cells]
    return replace(column, cells=tuple(text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…" for text in texts))
