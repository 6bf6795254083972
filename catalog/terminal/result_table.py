"""Tables of a query's result that fit the terminal, its preview, and its text formats.

A table has one line per row. Columns of a named query that are the same in every row are above it. Of the others it has
those that fit side by side, in this order of preference: the columns that the query names as the most interesting ones,
whose texts are cut or folded for this, the columns of the result, columns that repeat what the label of a variant says,
and ids. The last lines name the rest.
Nothing is left out of a wide table, of a vertical one, and of the other formats.
"""

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from catalog.results import QueryResult, to_csv, to_json, visible
from catalog.terminal.columns import Interval, Kind, ShownColumn, joined_intervals, shown_columns
from mlprune.counted import counted
from mlprune.errors import QueryError

Layout: TypeAlias = Literal["fitting", "wide", "vertical"]
GAP = 2
"""Cells between two columns."""
LEAST_WIDTH = 20
"""Narrowest line that is planned for."""
MAX_TEXT, LEAST_TEXT, LEAST_FOLDED = 40, 13, 7
"""Cells of a text that are shown if other columns need the room: at first, and at least if it is one of the most
interesting columns, cut or folded."""
MOST_LINES = 25
"""Lines of a table of 20 rows with everything around it."""
SHORT_ID = 8
"""Digits of an id that are shown, if they are enough to tell ids apart."""
STATED_BY_LABEL = frozenset(
    {
        *("score", "structure", "propagation", "sparsity", "scope", "schedule", "settings", "seed", "is_dense"),
        *("set_kind", "source_language", "target_language", "demonstration_label", "intervention", "combination"),
    }
)
"""Columns that describe a variant, like its label."""
LABELS = frozenset({"label", "chosen_on_dev"})
"""Columns with the label of a variant."""
FOLDED = frozenset({"question"})
"""Columns that are folded in every table, see `TableOptions.folded`."""
_LABEL = re.compile(r" *(?:\w+: +)?")


@dataclass(frozen=True)
class TableOptions:
    """How a result is shown."""

    width: int = 80
    """Cells of a line."""
    layout: Layout = "fitting"
    """Columns that fit; or lines of any length, with all columns and ids in full; or one line per value."""
    first: tuple[str, ...] = ()
    """The columns of most interest."""
    folded: tuple[str, ...] = ()
    """Columns that stay in the table and may have several lines: texts are not cut but folded between words, and an
    interval is below its value if there is no room next to it."""
    n_rows: int | None = None
    """Most rows that are shown; None for all."""
    digits: int | None = None
    """Decimals of numbers and significant digits of p-values; None for 3, and fewer for seconds and GiB."""
    id_length: int = SHORT_ID
    """Digits of an id, enough to tell ids apart."""
    is_user_sql: bool = False
    """Whether a user wrote the statement. Its columns stay in the table, also those that are constant or empty."""
    interval_owners: Mapping[str, str] | None = None
    """See `joined_intervals`."""


DEFAULT_OPTIONS = TableOptions()


def to_table(result: QueryResult, options: TableOptions) -> str:
    """Format a result as text without a final line break; see the module for what happens to wide rows."""
    width = max(options.width, LEAST_WIDTH)
    if not result.rows:
        return format_text(f"No rows; the columns are {', '.join(result.columns)}", width=width)
    n_all = len(result.rows)
    n_rows = n_all if options.n_rows is None else min(options.n_rows, n_all)
    note = counted(n_all, "row") if n_rows == n_all else f"{n_rows} of {n_all:,} rows (--rows all)"
    id_length = options.id_length if options.layout == "fitting" else None
    first_rows = QueryResult(result.columns, result.rows[:n_rows])
    joined = joined_intervals(result, owners=options.interval_owners)
    columns = _columns(
        first_rows, digits=options.digits, id_length=id_length, joined=joined, joins_ends=not options.is_user_sql
    )
    if options.layout != "fitting":
        lines = _row_table(columns, None) if options.layout == "wide" else _vertical(columns, width)
        return "\n".join([*lines, note])
    same, varying = ([], columns) if options.is_user_sql else _split(columns, result, kept=options.folded)
    narrowing = _narrowing(varying, width, first=options.first, folded=FOLDED.union(options.folded))
    kept = _fitting(varying, width, first=options.first, narrowing=narrowing)
    n_same = _n_fitting([_stated(column) for column in same], width)
    caption = ["; ".join(_stated(column) for column in same[:n_same])] if n_same else []
    lines = [*caption, *_row_table(kept, width, narrowing=narrowing)]
    shown = {column.name for column in [*kept, *same[:n_same]]}
    if hidden := [column.name for column in columns if column.name not in shown]:
        note += f", {len(shown)} of {len(columns)} columns (--wide)"
    return "\n".join([*lines, *_naming(note, hidden, width, n_lines=MOST_LINES - len(lines))])


def preview(result: QueryResult, options: TableOptions, *, n_rows: int) -> str:
    """Format rows as text without a final line break: one line per row, and the names of the columns without room.

    Args:
        result: the first rows.
        n_rows: number of all rows.
    """
    width = max(options.width, LEAST_WIDTH)
    if not result.rows:
        return format_text(f"No rows; the columns are {', '.join(result.columns)}", width=width)
    joined = joined_intervals(result, owners=options.interval_owners)
    is_user_sql = options.is_user_sql
    columns = _columns(result, digits=None, id_length=SHORT_ID, joined=joined, joins_ends=not is_user_sql)
    kept = _fitting([column for column in columns if is_user_sql or not column.is_empty] or columns[:1], width)
    shown = f"the first {len(result.rows)} of {n_rows:,} rows" if len(result.rows) < n_rows else counted(n_rows, "row")
    left_out = [column.name for column in columns if column not in kept]
    note = "; ".join([shown, *([f"more columns: {', '.join(left_out)}"] if left_out else [])])
    return "\n".join([*_row_table(kept, width), "", *_wrapped(note, width)])


def format_text(text: str, *, width: int) -> str:
    """Return lines that fit, with characters escaped that a terminal would interpret; long lines are folded.

    Further lines are indented like the text after a label such as `memory: `, or by two.
    """
    cells = max(width, LEAST_WIDTH)
    return "\n".join(part for line in visible(text).split("\n") for part in _folded_line(line, cells))


def _folded_line(line: str, width: int) -> list[str]:
    if cell_len(line) <= width:
        return [line]
    label = _LABEL.match(line)
    start = label[0] if label else ""
    if cell_len(start) > width // 3:
        start = line[: len(line) - len(line.lstrip(" "))][: width // 3]
    indent = " " * max(cell_len(start), 2)
    first, *more = _wrapped(line[len(start) :], width - len(indent))
    return [start + first, *(indent + text for text in more)]


@lru_cache(maxsize=1024)
def _wrapped(text: str, width: int) -> tuple[str, ...]:
    """Break lines between words so that none is wider; a longer word is broken between characters."""
    lines = Text(text).wrap(Console(width=width), width, overflow="fold")
    return tuple(line.plain.rstrip() for line in lines)


def _columns(
    result: QueryResult,
    *,
    digits: int | None,
    id_length: int | None,
    joined: Mapping[str, Interval],
    joins_ends: bool,
) -> list[ShownColumn]:
    named = QueryResult(tuple(visible(name).replace("\n", " ") for name in result.columns), result.rows)
    return shown_columns(named, digits=digits, id_length=id_length, joined=joined, joins_ends=joins_ends)


def _split(
    columns: Sequence[ShownColumn], result: QueryResult, *, kept: Sequence[str]
) -> tuple[list[ShownColumn], list[ShownColumn]]:
    """Separate the columns that are the same in every row, unless there is one row, and leave out the empty ones.

    Args:
        columns: of the rows that are shown.
        result: all rows.
        kept: names of columns that are not separated.
    """
    places = {name: place for place, name in enumerate(result.columns)}

    def is_same(column: ShownColumn) -> bool:
        place = places.get(column.name)
        if not column.is_constant or place is None:
            return False
        return all(row[place] == result.rows[0][place] for row in result.rows)

    filled = [column for column in columns if not column.is_empty] or list(columns[:1])
    same = [column for column in filled if column.name not in kept and is_same(column)] if len(result.rows) > 1 else []
    if len(same) == len(filled):
        same = same[1:]
    return same, [column for column in filled if column not in same]


@dataclass(frozen=True)
class _Narrowing:
    """How columns are made narrower than their texts."""

    max_text: int = MAX_TEXT
    """Cells of a text."""
    folded: frozenset[str] = FOLDED
    """Columns that may have several lines."""
    folds_intervals: bool = False
    """Whether an interval of these columns is below its value."""

    def is_folded(self, column: ShownColumn) -> bool:
        """Whether a row of the column may have several lines."""
        return column.name in self.folded and (self.folds_intervals or not column.kind.is_number)

    def least_width(self, column: ShownColumn) -> int:
        """Return the cells of a column with its name on two lines and long texts cut or folded."""
        content = column.width
        if self.is_folded(column):
            longest = max(cell_len(part) for row in range(len(column.cells)) for part in _parts(column, row))
            is_text = not column.kind.is_number
            content = min(content, max(self.max_text, min(longest, LEAST_TEXT))) if is_text else longest
        elif not column.kind.is_number:
            content = min(content, max(self.max_text, LEAST_TEXT))
        return max(content, *map(cell_len, _folded_name(column.name).split("\n")))

    def lines(self, column: ShownColumn, width: int) -> list[str]:
        """Return the texts of a column, with line breaks if it is folded."""
        if not self.is_folded(column):
            return _cut_lines(column, width)
        rows = range(len(column.cells))
        if column.kind.is_number:
            return ["\n".join(_parts(column, row)) for row in rows]
        return ["\n".join(_wrapped(_breakable(column.line(row), width), width)) for row in rows]


def _parts(column: ShownColumn, row: int) -> list[str]:
    """Return what a folded column keeps on one line: a value and its interval, or the words of a text."""
    text = column.line(row)
    if column.kind.is_number:
        return text.rstrip().replace(" (", "\n(", 1).split("\n")
    return _folded_words(text.split(" "))


def _folded_words(words: Iterable[str]) -> list[str]:
    """Divide words as the names of columns are divided."""
    return [part for word in words for part in _folded_name(word).split("\n")]


def _breakable(text: str, width: int) -> str:
    """Divide the words of a text that are wider than a line."""
    words = text.split(" ")
    return " ".join(part for word in words for part in (_folded_words([word]) if cell_len(word) > width else [word]))


def _narrowing(
    columns: Sequence[ShownColumn], width: int, *, first: Sequence[str], folded: frozenset[str]
) -> _Narrowing:
    """Return how the most interesting columns fit, as many of them as possible, with texts as long as possible."""
    by_name = {column.name: column for column in columns}
    wanted = [by_name[name] for name in first if name in by_name]
    least = LEAST_FOLDED if folded.intersection(first) else LEAST_TEXT
    ways = [_Narrowing(*way) for way in product(range(MAX_TEXT, least - 1, -1), (folded,), (False, True))]
    ways.sort(key=lambda way: way.folds_intervals)
    for n_columns in range(len(wanted), 0, -1):
        for way in ways:
            if sum(way.least_width(column) + GAP for column in wanted[:n_columns]) <= width + GAP:
                return way
    return _Narrowing(folded=folded)


def _fitting(
    columns: Sequence[ShownColumn], width: int, *, first: Sequence[str] = (), narrowing: _Narrowing = _Narrowing()
) -> list[ShownColumn]:
    """Return the columns that fit next to each other, in the order of the result; see the module for the preference."""
    has_label = any(column.name in LABELS for column in columns)

    def preference(place: int) -> tuple[int, int]:
        column = columns[place]
        if column.name in first:
            return 0, first.index(column.name)
        is_said = has_label and column.name in STATED_BY_LABEL
        return 1 + is_said + 2 * (column.kind in (Kind.ID, Kind.DIGEST)), place

    kept: set[int] = set()
    room = width + GAP
    for place in sorted(range(len(columns)), key=preference):
        needed = narrowing.least_width(columns[place]) + GAP
        if needed <= room or not kept:
            kept.add(place)
            room -= needed
    return [column for place, column in enumerate(columns) if place in kept]


def _folded_name(name: str) -> str:
    """Break a name after the underscore or space that is nearest to its middle."""
    ends = [match.end() for match in re.finditer(r"[_ ](?=.)", name)]
    middle = min(ends, key=lambda end: abs(2 * end - len(name)), default=0)
    return f"{name[:middle].rstrip(' ')}\n{name[middle:]}" if middle else name


def _row_table(columns: Sequence[ShownColumn], width: int | None, *, narrowing: _Narrowing = _Narrowing()) -> list[str]:
    """Return the lines of a table: the names, a rule, and one line per row.

    Args:
        width: cells of a line, in which the columns fit if they are made narrower; None if they are not.
    """
    widths = [max(column.width, cell_len(column.name)) for column in columns]
    is_narrow = width is not None and sum(widths) + GAP * (len(widths) - 1) > width
    if width is not None and is_narrow:
        least = [min(narrowing.least_width(column), width) for column in columns]
        widths = _widened(columns, least, spare=width - sum(least) - GAP * (len(least) - 1), narrowing=narrowing)
    n_lines = int(is_narrow and any("\n" in _folded_name(column.name) for column in columns))
    vertical: Literal["top", "bottom"] = "top" if narrowing.folds_intervals else "bottom"
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column, cells in zip(columns, widths, strict=True):
        name = _folded_name(column.name) if is_narrow else column.name
        name = "\n" * (n_lines - name.count("\n")) + name
        is_right = column.kind.is_number and not (is_narrow and narrowing.is_folded(column))
        header = Text(name, justify="right" if is_right else "left")
        table.add_column(header, vertical=vertical, no_wrap=True, width=cells)
    lines = narrowing.lines if is_narrow else _cut_lines
    shown = [lines(column, cells) for column, cells in zip(columns, widths, strict=True)]
    for row in zip(*shown, strict=True):
        table.add_row(*map(Text, row))
    return _rendered(table, sum(widths) + GAP * len(widths))


def _widened(columns: Sequence[ShownColumn], widths: Sequence[int], *, spare: int, narrowing: _Narrowing) -> list[int]:
    """Divide spare cells: first to columns that make rows lower, then to the others in their order."""

    def n_lines(cells: Sequence[int]) -> int:
        shown = [narrowing.lines(*pair) for pair in zip(columns, cells, strict=True) if narrowing.is_folded(pair[0])]
        return sum(max(text.count("\n") for text in row) for row in zip(*shown, strict=True))

    wider = list(widths)
    for place, column in enumerate(columns):
        if narrowing.is_folded(column) and not column.kind.is_number:
            more = [[*wider[:place], wider[place] + n, *wider[place + 1 :]] for n in range(spare + 1)]
            best = min(more, key=n_lines)
            spare -= sum(best) - sum(wider)
            wider = best
    for place, column in enumerate(columns):
        more_cells = min(max(column.width - wider[place], 0), spare)
        wider[place] += more_cells
        spare -= more_cells
    return wider


def _cut_lines(column: ShownColumn, width: int) -> list[str]:
    """Return the texts of a column without line breaks: numbers to the right, long texts cut.

    They are cut at the end, or nearer to the middle if this distinguishes more rows.
    """
    lines = [column.line(row) for row in range(len(column.cells))]
    if column.kind.is_number:
        return [line.rjust(width) for line in lines]
    if column.width <= width:
        return lines
    cuts = ([_cut(line, width, n_last=n) for line in lines] for n in (0, *range((width - 1) // 2, 0, -1)))
    return max(cuts, key=lambda texts: len(set(texts)))


def _cut(line: str, width: int, *, n_last: int) -> str:
    """Return a text of at most some cells, with an ellipsis before its last characters."""
    if cell_len(line) <= width:
        return line
    end = line[len(line) - n_last :]
    return f"{set_cell_size(line, width - 1 - cell_len(end))}…{end}"


def _vertical(columns: Sequence[ShownColumn], width: int) -> list[str]:
    """Return one line per value that is not empty, and a line before each row; long values are folded."""
    n_rows = len(columns[0].cells)
    names = min(max(cell_len(column.name) for column in columns), (width - GAP) // 2)
    table = Table.grid(padding=(0, GAP, 0, 0))
    table.add_column(overflow="fold", width=names)
    table.add_column(overflow="fold", width=width - names - GAP)
    for row in range(n_rows):
        table.add_row(f"row {row + 1} of {n_rows}", "─" * min(width - names - GAP, names))
        for column in columns:
            if text := column.compact(row):
                table.add_row(Text(column.name), Text(text))
    return _rendered(table, width)


def _rendered(table: Table, width: int) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, legacy_windows=False).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def _stated(column: ShownColumn) -> str:
    return f"{column.name} {column.compact(0)}"


def _n_fitting(items: Sequence[str], width: int) -> int:
    """Return how many of the first items fit on one line."""
    return next((n for n in range(len(items), 0, -1) if cell_len("; ".join(items[:n])) <= width), 0)


def _naming(note: str, names: Sequence[str], width: int, *, n_lines: int) -> Sequence[str]:
    """Name the columns that are not shown after a note, as many as fit on some lines."""
    for n_names in range(len(names), 0, -1):
        more = f" and {len(names) - n_names} more" if n_names < len(names) else ""
        lines = _wrapped(f"{note}; not shown: {', '.join(names[:n_names])}{more}", width)
        if len(lines) <= n_lines:
            return lines
    return _wrapped(note, width)


FORMATS: Mapping[str, Callable[[QueryResult, TableOptions], str]] = {
    "table": to_table,
    "json": lambda result, _: to_json(result),
    "csv": lambda result, _: to_csv(result),
}


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
