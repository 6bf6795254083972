"""Query results of an exhibit: the query, its parameters and its rows, in the formats of the page."""

import base64
import csv
import gzip
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from catalog.report.labels import cell
from catalog.report.styles import DENSE, METHOD, SeriesStyle, SeriesStyles, distinct_styles, method_styles
from catalog.results import Row, csv_cell
from catalog.sql_files import statement
from catalog.store import Catalog

MAX_DATA_ROWS = 50
"""Maximum number of rows of data in the page; the CSV file has more."""
MAX_FILE_ROWS = 20_000
"""Maximum number of rows of a CSV file in the page."""
MAX_PLAIN_BYTES = 100_000
"""Maximum size of a CSV file in the page that is not compressed."""


@dataclass(frozen=True)
class Source:
    """A query with its result."""

    name: str
    sql: str
    """Text of the query."""
    parameters: Mapping[str, object]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    """Rows with all columns of `METHOD` have the style of their method in the store in addition, as `style`."""

    @property
    def parameter_options(self) -> str:
        """The parameters as options of the command line, such as `--param task=facts`, without those that are NULL."""
        values = {
            key: str(value).lower() if isinstance(value, bool) else value for key, value in self.parameters.items()
        }
        return " ".join(f"--param {key}={value}" for key, value in values.items() if value is not None)

    @property
    def cells(self) -> list[list[str]]:
        """The first rows as text."""
        return [[cell(row[column]) for column in self.columns] for row in self.rows[:MAX_DATA_ROWS]]

    @property
    def csv(self) -> bytes:
        """All rows as a CSV file."""
        return self._csv(self.rows)

    @cached_property
    def _file(self) -> bytes:
        return self._csv(self.rows[:MAX_FILE_ROWS])

    def _csv(self, rows: Sequence[Row]) -> bytes:
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(
            [csv_cell(value) if type(value) is str else cell(value) for value in map(row.__getitem__, self.columns)]
            for row in rows
        )
        return buffer.getvalue().encode()

    @property
    def file_name(self) -> str:
        """Name of the CSV file in the page, which is compressed if it is large."""
        return f"{self.name}.csv" + (".gz" if len(self._file) > MAX_PLAIN_BYTES else "")

    @property
    def csv_uri(self) -> str:
        """The CSV file in the page, with at most `MAX_FILE_ROWS` rows, as a `data:` URI."""
        if self.file_name.endswith(".gz"):
            kind, content = "application/gzip", gzip.compress(self._file, mtime=0)
        else:
            kind, content = "text/csv;charset=utf-8", self._file
        return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def report_query(name: str, folder: str = "report") -> str:
    """Return the text of a query file without the texts of the page in its opening comment."""
    return re.sub(r"^-- title: .*\n(?:--.*\n)*", "", statement(folder, name), count=1, flags=re.MULTILINE)


def run_report_query(
    catalog: Catalog, name: str, *, folder: str = "report", parameters: Mapping[str, object] | None = None
) -> Source:
    """Run one query file.

    Args:
        name: name of a file in `catalog/sql/<folder>/`, without suffix.
        parameters: a value for each `$name` in it.
    """
    sql = report_query(name, folder)
    result = catalog.select(sql, parameters)
    rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
    if rows and set(METHOD) <= set(result.columns):
        styles = styles_of_store(catalog)
        for row in rows:
            row["style"] = styles.get(tuple(row[column] for column in METHOD), DENSE)
    return Source(name, sql, dict(parameters or {}), result.columns, tuple(rows))


def styles_of_store(catalog: Catalog) -> SeriesStyles:
    """Return the style of each method of a store, in the order of figures."""
    return method_styles(catalog.query(report_query("method_order")))


def styles_by_text(catalog: Catalog) -> dict[str, SeriesStyle]:
    """Return the style of each method by its text, such as `wanda fr-en`; methods of other sets differ in its shape."""
    rows = catalog.query(report_query("method_order"))
    styles = method_styles(rows)
    wanted = {str(row["method"]): styles[tuple(row[column] for column in METHOD)] for row in rows}
    return distinct_styles(wanted, keep_colours=True)
