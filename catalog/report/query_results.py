"""Where the numbers of an exhibit come from: the query, its parameters and its rows, as the page shows them."""

import base64
import csv
import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from catalog.report.labels import Row, cell
from catalog.sql_files import statement
from catalog.store import Catalog

MOST_ROWS_SHOWN = 50
"""Rows of the data in the page; the CSV file beside them holds all."""
MOST_PLAIN_BYTES = 100_000
"""Size from which on a CSV file inside the page is compressed."""


@dataclass(frozen=True)
class Source:
    """One answered query."""

    name: str
    sql: str
    """The exact text that was run."""
    parameters: Mapping[str, Any]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def parameters_in_words(self) -> str:
        """As a command line takes them: `--param task=facts`; empty without any, and NULL is not said."""
        values = {
            key: str(value).lower() if isinstance(value, bool) else value for key, value in self.parameters.items()
        }
        return " ".join(f"--param {key}={value}" for key, value in values.items() if value is not None)

    @property
    def cells(self) -> list[list[str]]:
        """The first rows as text."""
        return [[cell(row[column]) for column in self.columns] for row in self.rows[:MOST_ROWS_SHOWN]]

    @cached_property
    def csv(self) -> bytes:
        """All rows as a CSV file."""
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(
            [value if type(value) is str else cell(value) for value in map(row.__getitem__, self.columns)]
            for row in self.rows
        )
        return buffer.getvalue().encode()

    @property
    def file_name(self) -> str:
        """Of the CSV file: a large one is compressed."""
        return f"{self.name}.csv" + (".gz" if len(self.csv) > MOST_PLAIN_BYTES else "")

    @property
    def csv_uri(self) -> str:
        """The CSV file inside a `data:` address."""
        if self.file_name.endswith(".gz"):
            kind, content = "application/gzip", gzip.compress(self.csv, mtime=0)
        else:
            kind, content = "text/csv;charset=utf-8", self.csv
        return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def answer(
    catalog: Catalog, name: str, *, folder: str = "report", parameters: Mapping[str, Any] | None = None
) -> Source:
    """Run one query file.

    Args:
        name: of a file in `catalog/sql/<folder>/`, without its ending.
        parameters: a value for each `$name` in it.
    """
    sql = statement(folder, name)
    result = catalog.select(sql, parameters)
    rows = tuple(dict(zip(result.columns, row, strict=True)) for row in result.rows)
    return Source(name, sql, dict(parameters or {}), result.columns, rows)
