"""Relations: the result of a query, for pandas, polars and Arrow."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from shutil import get_terminal_size
from typing import TYPE_CHECKING, TypeAlias

from mlprune.api.html import table_html
from mlprune.api.late_columns import LateColumns
from mlprune.errors import BadInputError, QueryError, repeated, unknown

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

Value: TypeAlias = object
"""A value of a query, of any type that DuckDB has."""
Row: TypeAlias = dict[str, Value]
"""Column -> value."""

SHOWN_ROWS = 20
"""Rows that a terminal or a notebook shows of a relation."""
DEFAULT_WIDTH = 120
"""Cells of a line outside a terminal."""


class Relation:
    """The rows of a query. They do not change if the store does; ask the store again for newer ones.

    A relation is a sequence of rows: `len(relation)`, `for row in relation`, and `relation["value"]` for a column.

    Args:
        table: the rows.
        sql: the statement that they come from.
        parameters: values of its parameters.
        notes: what the user should know: defaults that follow from the store, or why there are no rows.
        late: columns that are not in the table; None if it has all.
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
    ) -> None:
        self.columns: tuple[str, ...] = tuple(table.column_names) if late is None else late.order
        """Names of the columns."""
        self.sql = sql
        """The statement that the rows come from."""
        self.parameters: Mapping[str, Value] = dict(parameters or {})
        """Values of the parameters of the statement."""
        self.notes = tuple(notes)
        """Defaults that follow from the store, and why there are no rows."""
        self._table = table
        self._late = late
        if duplicates := sorted(repeated(self.columns)):
            raise QueryError("two columns have the same name", columns=duplicates, expected="AS another_name")

    def arrow(self) -> "pa.Table":
        """Return the rows as a `pyarrow.Table`."""
        return self._whole

    @cached_property
    def _whole(self) -> "pa.Table":
        return self._table if self._late is None else self._late.in_arrow(self._table)

    def df(self) -> "pd.DataFrame":
        """Return the rows as a `pandas.DataFrame`.

        Raises:
            BadInputError: pandas is not installed.
        """
        _require("pandas")
        return self._whole.to_pandas()

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

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the rows to another library, such as `polars.DataFrame(relation)`."""
        return self._whole.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __bool__(self) -> bool:
        return len(self) > 0

    def __iter__(self) -> Iterator[Row]:
        for batch in self._whole.to_batches():
            yield from batch.to_pylist()

    def __getitem__(self, column: str) -> list[Value]:
        """Return the values of a column.

        Raises:
            QueryError: there is no such column.
        """
        if column not in self.columns:
            listing = "relation.columns"
            raise unknown("column", column, self.columns, error=QueryError, n_nearest=3, listing=listing)
        found = self._table[column] if self._late is None else self._late.column(self._table, column)
        values: list[Value] = found.to_pylist()
        return values

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
        from catalog.terminal import preview  # noqa: PLC0415

        result = QueryResult(self.columns, tuple(tuple(row.values()) for row in self._first_rows))
        width = get_terminal_size((DEFAULT_WIDTH, 24)).columns
        return "\n".join((preview(result, width=width, n_rows=len(self)), *self.notes))

    def _repr_html_(self) -> str:
        return table_html(
            self.columns, [list(row.values()) for row in self._first_rows], n_rows=len(self), notes=self.notes
        )


def _require(library: str) -> None:
    """Check that an optional library is installed.

    Raises:
        BadInputError: it is not.
    """
    if find_spec(library) is None:
        raise BadInputError(f"{library} is not installed", expected=f"pip install {library}", got="no such module")
