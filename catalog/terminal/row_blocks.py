"""Blocks of lines, one per row of a result, for rows that are wider than the terminal."""

from collections.abc import Sequence
from itertools import zip_longest

from catalog.terminal.folded_text import folded, folded_name, padded, width_of
from catalog.terminal.shown_columns import ShownColumn

GAP = "  "


def row_blocks(columns: Sequence[ShownColumn], width: int) -> list[str]:
    """Return the lines of all blocks, each after a rule with the number of the row."""
    n_rows = len(columns[0].cells)
    lines = []
    for row in range(n_rows):
        title = f"row {row + 1} of {n_rows} "
        lines.append(title + "─" * (min(width, 2 * len(title)) - len(title)))
        lines += block(columns, row, width=width)
    return lines


def block(columns: Sequence[ShownColumn], row: int, *, width: int) -> list[str]:
    """Return the lines of one row: the names and values of its columns that are not empty."""
    name_width = min(max(width_of(column.name) for column in columns), (width - len(GAP)) // 2)
    value_width = width - name_width - len(GAP)
    lines = []
    for column in columns:
        if text := column.compact(row):
            name = folded_name(column.name, name_width)
            lines += _field(name, folded(text, value_width), name_width=name_width)
    return lines


def _field(name: Sequence[str], value: Sequence[str], *, name_width: int) -> list[str]:
    """Return the lines of one column of a row."""
    return [
        f"{padded(left, name_width, is_right=False)}{GAP}{right}".rstrip()
        for left, right in zip_longest(name, value, fillvalue="")
    ]
