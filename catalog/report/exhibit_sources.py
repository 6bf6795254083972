"""Run the query of an exhibit: once, or once for each row of another query."""

import logging
from collections.abc import Mapping

from catalog.report.drawing.exhibits import Exhibit
from catalog.report.query_results import Source, run_report_query
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.errors import UnreadableFileError

logger = logging.getLogger(__name__)


def run_exhibit(catalog: Catalog, exhibit: Exhibit) -> tuple[Source, ...]:
    """Return one result per run of the exhibit's query; a query that has nothing to run for has an empty result.

    A run whose predictions are not in the store, such as those of a store that was copied without them, is left out
    with a warning.
    """
    runs = run_report_query(catalog, exhibit.runs).rows if exhibit.runs else ({},)
    results = (_run(catalog, exhibit, {**exhibit.parameters, **row}) for row in runs)
    sources = tuple(source for source in results if source is not None)
    return sources or (Source(exhibit.query, statement(exhibit.folder, exhibit.query), {}, (), ()),)


def _run(catalog: Catalog, exhibit: Exhibit, parameters: Mapping[str, object]) -> Source | None:
    try:
        return run_report_query(catalog, exhibit.query, folder=exhibit.folder, parameters=parameters)
    except UnreadableFileError as err:
        logger.warning("%s has no data: %s", exhibit.anchor, err)
        return None
