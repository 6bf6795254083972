"""Columns that are looked up when a relation is read: texts of variants, which repeat in all rows of a variant.

A query over ten million values of metrics would copy the label of each variant a hundred times, into Arrow and then to
a frame. Instead it returns the number of the variant, and the texts are taken from a small table.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

ROWS_AT_ONCE = 1_000_000
"""Rows whose texts are copied together: an Arrow array holds at most 2 GiB of text."""
THREADS = 4


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
