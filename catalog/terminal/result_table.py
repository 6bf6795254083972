"""Table of a query's result that fits the terminal.

Columns that are empty or the same in every row move to a caption. Then, until the rows fit: names of columns are
folded; columns of a named query that repeat what the label of a variant says, and ids, are left out and named below the
table; texts and intervals are folded; every row becomes a block of lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from catalog.results import QueryResult
from catalog.terminal.column_kinds import Kind
from catalog.terminal.folded_text import folded, folded_line, folded_list
from catalog.terminal.row_blocks import block, row_blocks
from catalog.terminal.row_table import fitting_widths, full_widths, row_table
from catalog.terminal.shown_columns import ShownColumn, shown_columns
from catalog.visible_text import visible
from mlprune.counted import counted

LEAST_WIDTH = 20
"""Narrowest line that is planned for."""
SHORT_ID = 8
"""Digits of an id that are shown, if they are enough to tell ids apart."""
STATED_BY_LABEL = frozenset(
    {
        *("score", "structure", "propagation", "sparsity", "scope", "schedule", "settings", "seed", "is_dense"),
        *("set_kind", "source_language", "target_language", "demonstration_label", "intervention", "combination"),
    }
)
"""Columns that describe a variant, like its label."""
VARIANT = "variant_id"
SHORTENED = (Kind.ID, Kind.DIGEST)
MOST_CAPTION_LINES = 3
"""Values that are the same in every row and need more lines are listed below each other."""
LINES_OF_A_CELL = (1, 2, 3, 5)
"""Most lines of a folded text, tried in this order; if a text needs more, rows are shown as blocks."""


@dataclass(frozen=True)
class TableOptions:
    """How a result is shown."""

    width: int = 80
    """Cells of a line."""
    is_wide: bool = False
    """Whether every row is one line of any length, with all columns and with ids in full."""
    may_omit: bool = False
    """Whether columns may be left out of rows that do not fit: those of a named query, but not those a user chose."""
    digits: int | None = None
    """Decimals of numbers and significant digits of p-values; None for 3, and fewer for seconds and GiB."""
    id_length: int = SHORT_ID
    """Digits of an id, enough to tell ids apart."""


def to_table(result: QueryResult, options: TableOptions) -> str:
    """Format a result as text without a final line break; see the module for what happens to wide rows."""
    width = max(options.width, LEAST_WIDTH)
    if not result.rows:
        return format_text(f"No rows; the columns are {', '.join(result.columns)}", width=width)
    named = QueryResult(tuple(visible(name).replace("\n", " ") for name in result.columns), result.rows)
    columns = shown_columns(named, digits=options.digits, id_length=None if options.is_wide else options.id_length)
    n_rows = counted(len(result.rows), "row")
    if options.is_wide:
        return "\n".join([*row_table(columns, full_widths(columns)), "", n_rows])
    caption, varying = _split(columns, width)
    lines, left_out = _laid_out(varying, width, may_omit=options.may_omit)
    notes = [n_rows, *([f"not shown: {', '.join(left_out)}"] if left_out else [])]
    if any(column.kind in SHORTENED for column in columns if column.name not in left_out):
        notes.append("ids are shortened")
    more = " (--wide shows everything)" if len(notes) > 1 else ""
    return "\n".join([*caption, *([""] if caption else []), *lines, "", *folded("; ".join(notes) + more, width)])


def format_text(text: str, *, width: int) -> str:
    """Return lines that fit, with characters escaped that a terminal would interpret; long lines are folded."""
    cells = max(width, LEAST_WIDTH)
    return "\n".join(part for line in visible(text).split("\n") for part in folded_line(line, cells))


def _split(columns: Sequence[ShownColumn], width: int) -> tuple[list[str], list[ShownColumn]]:
    """Separate the columns that are shown once, above the rows. Of a single row, these are the empty ones only.

    Returns: the lines above the rows, and the other columns.
    """
    empty = [column for column in columns if column.is_empty]
    filled = [column for column in columns if not column.is_empty] or list(columns[:1])
    constant = [column for column in filled if column.is_constant] if len(columns[0].cells) > 1 else []
    if len(constant) == len(filled):
        constant = constant[1:]
    caption = folded_list([f"{column.name} {column.compact(0)}" for column in constant], width) if constant else []
    if len(caption) > MOST_CAPTION_LINES:
        caption = block(constant, 0, width=width)
    if empty and len(empty) < len(columns):
        caption += folded(f"empty: {', '.join(column.name for column in empty)}", width)
    return caption, [column for column in filled if column not in constant]


def _laid_out(columns: Sequence[ShownColumn], width: int, *, may_omit: bool) -> tuple[list[str], list[str]]:
    """Return the lines of the rows, and the names of the columns that are left out."""
    *choices, fewest = _choices(columns) if may_omit else [columns, columns]
    tried = [(kept, n_lines) for n_lines in LINES_OF_A_CELL for kept in choices]
    for kept, n_lines in [*tried, *((fewest, n_lines) for n_lines in LINES_OF_A_CELL)]:
        widths = fitting_widths(kept, width, n_lines=n_lines)
        if widths is not None:
            return row_table(kept, widths), [column.name for column in columns if column not in kept]
    return row_blocks(columns, width), []


def _choices(columns: Sequence[ShownColumn]) -> list[Sequence[ShownColumn]]:
    """Return all columns, then ever fewer: without what a label says, other ids, and finally the id of the variant."""
    first = columns[0]
    has_label = any(column.name == "label" for column in columns)
    said = STATED_BY_LABEL if has_label else frozenset()
    short = [column for column in columns if column is first or column.name not in said]
    shorter = [column for column in short if column is first or column.kind not in SHORTENED or column.name == VARIANT]
    fewest = [column for column in shorter if column is first or column.name != VARIANT or not has_label]
    return [columns, short, shorter, fewest]
