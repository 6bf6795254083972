"""Run the query of an exhibit: once, or once for each row of another query."""

from catalog.report.drawing.exhibits import Exhibit
from catalog.report.query_results import Source, run_report_query
from catalog.sql_files import statement
from catalog.store import Catalog


def run_exhibit(catalog: Catalog, exhibit: Exhibit) -> tuple[Source, ...]:
    """Return one result per run of the exhibit's query; a query that has nothing to run for has an empty result."""
    if not exhibit.runs:
        return (run_report_query(catalog, exhibit.query, folder=exhibit.folder, parameters=exhibit.parameters),)
    runs = run_report_query(catalog, exhibit.runs).rows
    sources = tuple(
        run_report_query(catalog, exhibit.query, folder=exhibit.folder, parameters={**exhibit.parameters, **row})
        for row in runs
    )
    return sources or (Source(exhibit.query, statement(exhibit.folder, exhibit.query), {}, (), ()),)
