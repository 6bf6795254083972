"""Tables with one row per row of a result, and the widths of their columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from catalog.terminal.column_kinds import Kind
from catalog.terminal.folded_text import folded, folded_name, longest_piece, padded, width_of
from catalog.terminal.shown_columns import ShownColumn

GAP = "  "
LEAST_TEXT = 12
"""Cells to which a column of texts may shrink."""


@dataclass(frozen=True)
class _Need:
    """Widths of a column in cells."""

    least: int
    """With a folded name and folded texts, and intervals below their values."""
    content: int
    """With a folded name."""
    full: int
    """Without any folding."""


def full_widths(columns: Sequence[ShownColumn]) -> list[int]:
    """Return the widths of columns if nothing is folded."""
    return [_need(column).full for column in columns]


def fitting_widths(columns: Sequence[ShownColumn], width: int, *, n_lines: int = 1) -> list[int] | None:
    """Return the widths of columns that fit side by side, or None if they do not.

    If the columns do not fit as they are, their names are folded, and then their texts and intervals.

    Args:
        width: cells of a line.
        n_lines: most lines of a folded text.
    """
    needs = [_need(column) for column in columns]
    contents, full = [need.content for need in needs], [need.full for need in needs]
    room = width - len(GAP) * (len(columns) - 1)
    if sum(full) <= room:
        return full
    if sum(contents) <= room:
        return _widened(contents, full, room=room)
    least = [need.least for need in needs]
    if n_lines == 1 or sum(least) > room:
        return None
    for texts_first in (False, True):
        first = [
            content if (column.kind is Kind.TEXT) == texts_first else cells
            for column, content, cells in zip(columns, contents, least, strict=True)
        ]
        widths = _widened(_widened(least, first, room=room), contents, room=room)
        if _is_low(columns, widths, n_lines=n_lines):
            return widths
    return None


def _is_low(columns: Sequence[ShownColumn], widths: Sequence[int], *, n_lines: int) -> bool:
    """Whether no cell that is narrower than its content has more lines."""
    return all(
        len(lines) <= n_lines
        for column, width in zip(columns, widths, strict=True)
        if max(map(width_of, column.cells)) > width
        for lines in _cells_of(column, width)
    )


def row_table(columns: Sequence[ShownColumn], widths: Sequence[int]) -> list[str]:
    """Return the lines of a table: the names, a rule, and one row per row; numbers are on the right of their column."""
    rights = [column.kind.is_number for column in columns]
    names = [folded_name(column.name, width) for column, width in zip(columns, widths, strict=True)]
    height = max(map(len, names))
    lines = _joined([[*[""] * (height - len(name)), *name] for name in names], widths, rights)
    lines.append(GAP.join("─" * width for width in widths))
    cells = [_cells_of(column, width) for column, width in zip(columns, widths, strict=True)]
    for row in zip(*cells, strict=True):
        lines += _joined(row, widths, rights)
    return lines


def _cells_of(column: ShownColumn, width: int) -> list[list[str]]:
    """Return the lines of each cell of a column."""
    if column.interval_width and max(map(width_of, column.cells)) > width:
        return [column.narrow(row).split("\n") for row in range(len(column.cells))]
    return [folded(cell, width) for cell in column.cells]


def _joined(cells: Sequence[Sequence[str]], widths: Sequence[int], rights: Sequence[bool]) -> list[str]:
    """Return the lines of one row, of which each cell has some lines."""
    return [
        GAP.join(
            padded(text, width, is_right=right) for text, width, right in zip(line, widths, rights, strict=True)
        ).rstrip()
        for line in zip_longest(*cells, fillvalue="")
    ]


def _need(column: ShownColumn) -> _Need:
    content = max(map(width_of, column.cells), default=0)
    name = longest_piece(column.name)
    least = min(content, LEAST_TEXT) if column.kind is Kind.TEXT else column.interval_width or content
    return _Need(max(least, name), max(content, name), max(content, width_of(column.name)))


def _widened(widths: Sequence[int], wanted: Sequence[int], *, room: int) -> list[int]:
    """Give the cells that are left to the columns that lack the fewest."""
    widened, left = list(widths), room - sum(widths)
    for place in sorted(range(len(widths)), key=lambda place: wanted[place] - widths[place]):
        more = min(left, wanted[place] - widths[place])
        widened[place] += more
        left -= more
    return widened
