"""Tables of a query's result that fit the terminal, its preview, and its text formats.

Table of a query's result that fits the terminal.

Columns that are empty or the same in every row move to a caption. Then, until the rows fit: names of columns are
folded; columns of a named query that repeat what the label of a variant says, and ids, are left out and named below the
table; texts and intervals are folded; every row becomes a block of lines.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from rich.cells import cell_len, chop_cells

from catalog.results import QueryResult, to_csv, to_json, visible
from catalog.terminal.columns import Kind, ShownColumn, shown_columns
from mlprune.counted import counted
from mlprune.errors import QueryError

_LABEL = re.compile(r" *(?:\w+: +)?")
_PIECE = re.compile(r"_*[^_ ]+[_ ]*|[_ ]+")


def width_of(text: str) -> int:
    """Return the cells of the longest line of a text."""
    return max(map(cell_len, text.split("\n")))


def folded(text: str, width: int) -> list[str]:
    """Break lines between words so that none is wider; a longer word is broken between characters."""
    if "\n" not in text and cell_len(text) <= width:
        return [text]
    lines = [line for paragraph in text.split("\n") for line in _filled(paragraph.split(" "), width, separator=" ")]
    return _chopped(lines, width)


def folded_name(name: str, width: int) -> list[str]:
    """Break the name of a column after underscores and spaces."""
    return _chopped([line.rstrip(" ") for line in _filled(_pieces(name), width, separator="")], width)


def folded_list(items: list[str], width: int) -> list[str]:
    """Join items with semicolons, and break lines between items if possible."""
    lines = _filled([*(f"{item};" for item in items[:-1]), *items[-1:]], width, separator=" ")
    return [part for line in lines for part in folded(line, width)]


def folded_line(line: str, width: int) -> list[str]:
    """Break a line of text; further lines are indented like the text after a label such as `memory: `, or by two."""
    label = _LABEL.match(line)
    start = label[0] if label else ""
    if cell_len(start) > width // 3:
        start = line[: len(line) - len(line.lstrip(" "))][: width // 3]
    indent = " " * max(cell_len(start), 2)
    if cell_len(line) <= width:
        return [line]
    first, *more = folded(line[len(start) :], width - len(indent))
    return [start + first, *(indent + text for text in more)]


def longest_piece(name: str) -> int:
    """Return the cells of the longest part of a name that is not broken."""
    return max(cell_len(piece.rstrip(" ")) for piece in _pieces(name))


def padded(text: str, width: int, *, is_right: bool) -> str:
    """Pad a text with blanks to a number of cells."""
    blanks = " " * (width - cell_len(text))
    return blanks + text if is_right else text + blanks


def _pieces(name: str) -> list[str]:
    return _PIECE.findall(name) or [name]


def _filled(pieces: list[str], width: int, *, separator: str) -> list[str]:
    """Join pieces to lines that are as long as possible; a line of one piece may be wider."""
    lines, line = [], pieces[0]
    for piece in pieces[1:]:
        longer = f"{line}{separator}{piece}"
        if cell_len(longer.rstrip(" ")) <= width:
            line = longer
        else:
            lines.append(line)
            line = piece
    return [*lines, line]


def _chopped(lines: list[str], width: int) -> list[str]:
    """Break the lines that are wider between characters."""
    return [part for line in lines for part in (chop_cells(line, width) if cell_len(line) > width else [line])]


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
        line_width = sum(full_widths([*kept, column])) + width_of(GAP) * len(kept)
        if not column.is_empty and (not kept or line_width <= width):
            kept.append(column)
    return kept or columns[:1]


def _cut(column: ShownColumn) -> ShownColumn:
    """Shorten long texts and remove their line breaks."""
    if column.kind.is_number:
        return column
    texts = [" ".join(text.split()) for text in column.cells]
    return replace(column, cells=tuple(text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…" for text in texts))


FORMATS: Mapping[str, Callable[[QueryResult, TableOptions], str]] = {
    "table": to_table,
    "json": lambda result, _: to_json(result),
    "csv": lambda result, _: to_csv(result),
}
DEFAULT_OPTIONS = TableOptions()


def render(
    result: QueryResult,
    format: str,  # noqa: A002 - the command line calls it format
    *,
    options: TableOptions = DEFAULT_OPTIONS,
) -> str:
    """Format a result as `json`, `csv` or `table`, without a final line break.

    Args:
        options: of a table; the other formats are always complete and exact.
    Raises:
        QueryError: there is no such format.
    """
    if format not in FORMATS:
        raise QueryError("no such format", expected=sorted(FORMATS), got=format)
    return FORMATS[format](result, options)
