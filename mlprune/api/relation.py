"""Relations: the result of a query, for pandas, polars and Arrow, with late columns and HTML views.

Late columns are looked up when a relation is read: texts of variants, which repeat in all rows of a variant. A query
over ten million values of metrics would copy the label of each variant a hundred times, into Arrow and then to a frame.
Instead it returns the number of the variant, and the texts are taken from a small table.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from importlib.util import find_spec
from shutil import get_terminal_size
from typing import TYPE_CHECKING, TypeAlias, overload

from mlprune.errors import BadInputError, QueryError, repeated, unknown

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

MAX_TEXT = 200
"""Characters of a value that a notebook shows."""
DIGITS = 4
"""Significant digits of a number."""
PADDING = "padding:0 0.5em"
"""Style of a cell; some notebooks set no space between columns."""
ROWS_AT_ONCE = 1_000_000
"""Rows whose texts are copied together: an Arrow array holds at most 2 GiB of text."""
THREADS = 4
Value: TypeAlias = object
"""A value of a query, of any type that DuckDB has."""
Row: TypeAlias = dict[str, Value]
"""Column -> value."""
SHOWN_ROWS = 20
"""Rows that a terminal or a notebook shows of a relation."""
SHOWN_COLUMNS = 10
"""Columns that a notebook shows of a relation."""
DEFAULT_WIDTH = 120
"""Cells of a line outside a terminal."""


@dataclass(frozen=True)
class ColumnDisplay:
    """How the columns of a relation are shown."""

    is_user_sql: bool = False
    """Whether a user wrote the statement; its columns are shown even if they are empty."""
    interval_owners: Mapping[str, str] | None = None
    """Low end of an interval -> the column that it belongs to; None: as in the table, in its order."""


BUILT_IN_DISPLAY = ColumnDisplay()
"""Display of a statement of this package."""


def table_html(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    n_rows: int,
    notes: Sequence[str] = (),
    more: Sequence[str] = (),
) -> str:
    """Return a table, the number of its rows, the names of further columns, and notes.

    Args:
        rows: the rows that are shown; without any, the columns have no header.
        n_rows: number of all rows.
        more: columns that are not shown.
    """
    head = "".join(f'<th style="{PADDING}">{escape(column)}</th>' for column in columns) if rows else ""
    body = "".join(f"<tr>{''.join(map(_cell, row, columns))}</tr>" for row in rows)
    shown = f"{len(rows)} of {n_rows:,} rows" if len(rows) < n_rows else f"{n_rows:,} row{'s' if n_rows != 1 else ''}"
    lines = "".join(f"<p>{escape(_visible(note))}</p>" for note in (shown, *notes))
    if more:
        summary = f"{len(more)}{' more' if rows else ''} column{'s' if len(more) != 1 else ''}"
        lines += f"<details><summary>{summary}</summary>{escape(_visible(', '.join(more)))}</details>"
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{lines}</div>"


def facts_html(title: str, facts: Sequence[tuple[str, object]]) -> str:
    """Return a title and a table of names with values; empty values are left out."""
    rows = "".join(
        f"<tr><th>{escape(name)}</th>{_cell(value)}</tr>" for name, value in facts if value not in (None, "")
    )
    return f"<div><strong>{escape(_visible(title))}</strong><table><tbody>{rows}</tbody></table></div>"


def _cell(value: object, column: str = "") -> str:
    if value is None:
        return f'<td style="{PADDING}"></td>'
    if isinstance(value, float) and column.startswith("p_"):
        from catalog.terminal.columns import p_value_text  # noqa: PLC0415 - see `_visible`

        return f'<td style="{PADDING};text-align:right">{escape(p_value_text(value, digits=None))}</td>'
    if isinstance(value, float):
        return f'<td style="{PADDING};text-align:right">{value:.{DIGITS}g}</td>'
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td style="{PADDING};text-align:right">{value}</td>'
    text = str(value)
    shown = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
    return f'<td style="{PADDING}">{escape(_visible(shown))}</td>'


def _visible(text: str) -> str:
    from catalog.results import visible  # noqa: PLC0415 - the interface loads the catalog only when it is used

    return visible(text)


@dataclass(frozen=True)
class LateColumns:
    """Columns of a relation that another table has."""

    key: str
    """Integer column of the relation: a row of the other table, from 0. It is not shown."""
    values: "pa.Table"
    """The other table."""
    order: tuple[str, ...]
    """All columns of the relation, in order."""

    def column(self, table: "pa.Table", name: str) -> "pa.ChunkedArray":
        """Return one column of the relation."""
        return self.in_arrow(table, (name,))[name]

    def in_arrow(self, table: "pa.Table", names: tuple[str, ...] | None = None) -> "pa.Table":
        """Return the relation, or some of its columns, as an Arrow table."""
        import pyarrow as pa  # noqa: PLC0415 - loaded by the catalog

        pieces = []
        wanted = self.order if names is None else names
        late = {name: self.values[name].combine_chunks() for name in wanted if name in self.values.column_names}
        for start in range(0, max(1, table.num_rows), ROWS_AT_ONCE):
            piece = table.slice(start, ROWS_AT_ONCE)
            keys = piece[self.key]
            columns = {name: late[name].take(keys) if name in late else piece[name] for name in wanted}
            pieces.append(pa.table(columns))
        return pa.concat_tables(pieces)

    def in_polars(self, table: "pa.Table") -> "pl.DataFrame":
        """Return the relation as a polars frame; columns are converted in parallel."""
        import polars  # noqa: PLC0415 - optional

        with ThreadPoolExecutor(THREADS) as pool:
            converted = pool.map(lambda name: polars.Series(name, polars.from_arrow(table[name])), table.column_names)
            columns = dict(zip(table.column_names, converted, strict=True))
        values = polars.DataFrame(polars.from_arrow(self.values))
        columns.update({column.name: column for column in values[columns[self.key]].get_columns()})
        return polars.DataFrame([columns[name] for name in self.order])


class Relation:
    """The rows of a query. They do not change if the store does; ask the store again for newer ones.

    A relation is a sequence of rows: `len(relation)`, `for row in relation`, `relation[0]`, `relation[:5]`; and a table
    of columns: `relation["value"]`, `relation[["label", "value"]]`.

    Args:
        table: the rows.
        sql: the statement that they come from.
        parameters: values of its parameters.
        notes: what the user should know: defaults that follow from the store, or why rows are missing.
        late: columns that are not in the table; None if it has all.
        display: how the columns are shown.
    Raises:
        QueryError: two columns have the same name.
    """

    def __init__(
        self,
        table: "pa.Table",
        *,
        sql: str,
        parameters: Mapping[str, Value] | None = None,
        notes: Sequence[str] = (),
        late: LateColumns | None = None,
        display: ColumnDisplay = BUILT_IN_DISPLAY,
    ) -> None:
        self.columns: tuple[str, ...] = tuple(table.column_names) if late is None else late.order
        """Names of the columns."""
        self.sql = sql
        """The statement that the rows come from; that of the whole, if these are a part of its rows or columns."""
        self.parameters: Mapping[str, Value] = dict(parameters or {})
        """Values of the parameters of the statement."""
        self.notes = tuple(notes)
        """Defaults that follow from the store, and why rows are missing."""
        self._table = table
        self._late = late
        owners = display.interval_owners
        self._display = display if owners is not None else replace(display, interval_owners=_owners_in_order(table))
        if duplicates := sorted(repeated(self.columns)):
            raise QueryError("two columns have the same name", columns=duplicates, expected="AS another_name")

    def arrow(self) -> "pa.Table":
        """Return the rows as a `pyarrow.Table`."""
        return self._whole

    @cached_property
    def _whole(self) -> "pa.Table":
        return self._table if self._late is None else self._late.in_arrow(self._table)

    def df(self) -> "pd.DataFrame":
        """Return the rows as a `pandas.DataFrame`. Integers with missing values have the type `Int64`, not float.

        Raises:
            BadInputError: pandas is not installed.
        """
        _require("pandas")
        import pandas  # noqa: PLC0415 - optional
        import pyarrow as pa  # noqa: PLC0415 - loaded by the catalog

        frame = self._whole.to_pandas()
        for field in self._whole.schema:
            if pa.types.is_signed_integer(field.type) and self._whole[field.name].null_count:
                frame[field.name] = pandas.array(self._whole[field.name].to_pylist(), dtype="Int64")
        return frame

    def pl(self) -> "pl.DataFrame":
        """Return the rows as a `polars.DataFrame`.

        Raises:
            BadInputError: polars is not installed.
        """
        _require("polars")
        import polars  # noqa: PLC0415 - optional

        if self._late is not None:
            return self._late.in_polars(self._table)
        return polars.DataFrame(polars.from_arrow(self._table))

    to_pandas = df
    to_polars = pl

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the rows to another library, such as `polars.DataFrame(relation)`."""
        return self._whole.__arrow_c_stream__(requested_schema)

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and columns."""
        return len(self), len(self.columns)

    def head(self, n: int = 5) -> "Relation":
        """Return the first rows."""
        return self[:n]

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __bool__(self) -> bool:
        return len(self) > 0

    def __iter__(self) -> Iterator[Row]:
        for batch in self._whole.to_batches():
            yield from batch.to_pylist()

    @overload
    def __getitem__(self, key: str) -> list[Value]: ...
    @overload
    def __getitem__(self, key: int) -> Row: ...
    @overload
    def __getitem__(self, key: slice | list[str] | tuple[str, ...]) -> "Relation": ...
    def __getitem__(self, key: str | int | slice | list[str] | tuple[str, ...]) -> "list[Value] | Row | Relation":
        """Return the values of a column, a row, or a relation of a slice of the rows or of a list of columns.

        Raises:
            QueryError: there is no such column or row.
        """
        if isinstance(key, str):
            return self._column(key)
        if isinstance(key, list | tuple):
            return self._with_columns(tuple(key))
        try:
            numbers = range(len(self))[key]
        except (TypeError, ValueError, IndexError) as err:
            expected = f"a column, a list of columns, a slice, or a row before {len(self)}"
            raise QueryError("the relation has no such part", expected=expected, got=key) from err
        if isinstance(numbers, int):
            return next(iter(self[numbers : numbers + 1]))
        rows = self._table.slice(numbers.start, len(numbers)) if numbers.step == 1 else self._table.take(list(numbers))
        return self._part(rows, self._late)

    def _column(self, name: str) -> list[Value]:
        self._require_column(name)
        column = self._table[name] if self._late is None else self._late.column(self._table, name)
        values: list[Value] = column.to_pylist()
        return values

    def _with_columns(self, names: tuple[str, ...]) -> "Relation":
        for name in names:
            self._require_column(name)
        if self._late is None:
            return self._part(self._table.select(names), None)
        own = [name for name in names if name not in self._late.values.column_names]
        return self._part(self._table.select([*own, self._late.key]), replace(self._late, order=names))

    def _part(self, table: "pa.Table", late: LateColumns | None) -> "Relation":
        return Relation(
            table,
            sql=self.sql,
            parameters=self.parameters,
            notes=self.notes,
            late=late,
            display=self._display,
        )

    def _require_column(self, name: str) -> None:
        if name not in self.columns:
            listing = "relation.columns"
            raise unknown("column", name, self.columns, error=QueryError, n_nearest=3, listing=listing)

    def row(self) -> Row:
        """Return the only row.

        Raises:
            QueryError: there is none, or there are several.
        """
        if len(self) != 1:
            notes = {"notes": self.notes} if self.notes else {}
            raise QueryError("the relation does not have exactly one row", notes, expected=1, got=len(self))
        return next(iter(self))

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.columns)

    @cached_property
    def _first_rows(self) -> list[Row]:
        first = self._table.slice(0, SHOWN_ROWS)
        rows: list[Row] = (first if self._late is None else self._late.in_arrow(first)).to_pylist()
        return rows

    def __repr__(self) -> str:
        from catalog.results import QueryResult  # noqa: PLC0415 - the interface loads the catalog only when it is used
        from catalog.terminal import TableOptions, preview  # noqa: PLC0415

        result = QueryResult(self.columns, tuple(tuple(row.values()) for row in self._first_rows))
        width = get_terminal_size((DEFAULT_WIDTH, 24)).columns
        display = self._display
        options = TableOptions(width, is_user_sql=display.is_user_sql, interval_owners=display.interval_owners)
        return "\n".join((preview(result, options, n_rows=len(self)), *self.notes))

    def _repr_html_(self) -> str:
        shows_all = self._display.is_user_sql
        known = [name for name in self.columns if shows_all or any(row[name] is not None for row in self._first_rows)]
        shown = known[:SHOWN_COLUMNS]
        rows = [[row[name] for name in shown] for row in self._first_rows]
        more = [name for name in self.columns if name not in shown]
        return table_html(shown, rows, n_rows=len(self), notes=self.notes, more=more)


def _owners_in_order(table: "pa.Table") -> dict[str, str]:
    """Return the low end of each interval of a table -> the column that it belongs to in the order of the table."""
    if not any(name.endswith("_low") for name in table.column_names):
        return {}
    from pyarrow import types  # noqa: PLC0415 - loaded by the catalog

    from catalog.terminal.columns import interval_owners  # noqa: PLC0415 - loads rich

    numbers = [field.name for field in table.schema if types.is_floating(field.type) or types.is_decimal(field.type)]
    return interval_owners(numbers)


def _require(library: str) -> None:
    """Check that an optional library is installed.

    Raises:
        BadInputError: it is not.
    """
    if find_spec(library) is None:
        raise BadInputError(f"{library} is not installed", expected=f"pip install {library}", got="no such module")
