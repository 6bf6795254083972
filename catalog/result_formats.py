"""Text formats of query results: a table for people, and exact ones for programs."""

from collections.abc import Callable, Mapping

from catalog.results import QueryResult, to_csv, to_json
from catalog.terminal import TableOptions, to_table
from mlprune.errors import QueryError

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
