"""The figures and tables of the report, in order. Their texts are in the opening comments of their queries."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import dropwhile
from pkgutil import resolve_name

from catalog.report.exhibits import Group
from catalog.report.panels.answers import category_panels, flipped_examples, generation_tables
from catalog.report.panels.cost import cost_bars
from catalog.report.panels.differences import difference_curves, seed_panels
from catalog.report.panels.features import feature_heat_maps, magnitude_panels
from catalog.report.panels.influence import influence_panels
from catalog.report.panels.languages import breaking_tables, pareto_plots, pooled_panels, source_heat_maps
from catalog.report.panels.layers import layer_heat_maps, mask_profiles, profile_panels, schedule_panels
from catalog.report.panels.rank_consistency import consistency_intervals, consistency_matrices
from catalog.report.query_results import Source, report_query, run_report_query
from catalog.results import Row
from catalog.sql_files import SqlFile, find_query, parse_default, sql_files, statement
from catalog.store import Catalog
from mlprune.errors import UnreadableFileError

logger = logging.getLogger(__name__)
Draw = Callable[[Sequence[Row]], Iterable[Group]]
"""Draws the rows of a query as groups of panels."""
_KEY = re.compile(
    r"(title|anchor|query|runs|optional|draw|after|topic|below|explanation|empty|(?:parameter|column) \w+): (.+)"
)
_INTERVAL = re.compile(r"(.+) \[(\w+), (\w+)\]")
DRAWN: Mapping[str, Draw] = {
    "difference_by_sparsity": difference_curves,
    "sources_by_language": source_heat_maps,
    "pooled_languages": pooled_panels,
    "breaking_sparsity": breaking_tables,
    "category_answers": category_panels,
    "seed_components": seed_panels,
    "pareto": pareto_plots,
    "rank_consistency": consistency_intervals,
    "rank_matrices": consistency_matrices,
    "feature_overlaps": feature_heat_maps,
    "largest_features": magnitude_panels,
    "mask_overlaps": mask_profiles,
    "layer_profiles": layer_heat_maps,
    "profile_differences": profile_panels,
    "layer_schedule": schedule_panels,
    "influence_by_language": influence_panels,
    "cost_by_step": cost_bars,
}
"""File of a figure in `catalog/sql/report/` -> function that draws its rows; a capability's file names its own."""
LISTED: Mapping[str, Draw] = {"flipped_answers": flipped_examples, "generations": generation_tables}
"""The same for examples as text."""
_ABOUT_VARIANTS = ("means_outside_english", "translation_quality", "perplexity")
TABULAR = (*_ABOUT_VARIANTS, "item_flow", "failures", "runs", "code", "names", "contents")
"""Files of the tables, without those of capabilities."""


@dataclass(frozen=True)
class Exhibit:
    """One figure or table of the report."""

    anchor: str
    """Id of the exhibit in the page, and name of its files."""
    title: str
    explanation: str
    """Explanation of how to read it."""
    query: str
    """Name of its query, a file in `catalog/sql/<folder>/`."""
    empty_text: str
    """Text to show without data, with the recipe entry that would create some."""
    draw: Draw | None = None
    """Draws rows as groups of panels; None for a table."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """For a table: column -> heading, in order. The data below the table has all columns."""
    intervals: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """For a table: column -> columns with the ends of its interval, which the page shows after the value."""
    folder: str = "report"
    """`report`, or `queries` for a query that also has a name on the command line."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """Values of the query's parameters."""
    runs: str = ""
    """Name of a query of the report with one row of parameters per run of `query`; empty for a single run."""
    is_optional: bool = False
    """Whether to omit the exhibit without data, because most recipes do not request its analysis."""
    topic: str = ""
    """For an exhibit of a capability: heading of its topic; `TOPICS` has those of the others."""
    below: str = ""
    """For an exhibit of a capability: anchor of the one above it in its topic; empty for the one before it."""


def read_exhibit(name: str, draw: Draw | None = None) -> Exhibit:
    """Return the exhibit that the opening comment of a file in a folder `report/` of SQL files describes.

    Its last lines, which may continue on further ones, are `title: TEXT`, `anchor`, `explanation`, `empty`, and if need
    be `runs`, `optional: true`, and `column NAME: HEADING` or `column NAME: HEADING [LOW, HIGH]` for each column of a
    table. A file without a statement has the line `query`, the name of a query, and
    `parameter NAME: VALUE` for each value that is not its default. An exhibit of a capability has
    the lines `after`, the file of the figure or table before it, and `topic`, a figure also `draw: MODULE:FUNCTION`
    instead of an entry in `DRAWN`; `below` is the anchor of the exhibit above it in its topic, if that is another one.
    """
    header = _header(SqlFile(name, statement("report", name)).comment)
    columns = _named(header, "column ")
    ends = {column: match for column, text in columns.items() if (match := _INTERVAL.fullmatch(text))}
    named = find_query(header["query"]).parameters if "query" in header else ()
    given = {key: parse_default(value) for key, value in _named(header, "parameter ").items()}
    return Exhibit(
        anchor=header["anchor"],
        title=header["title"],
        explanation=header["explanation"],
        query=header.get("query", name),
        empty_text=header["empty"],
        draw=_named_function(header["draw"]) if "draw" in header else draw,
        columns={column: ends[column][1] if column in ends else text for column, text in columns.items()},
        intervals={column: (match[2], match[3]) for column, match in ends.items()},
        folder="queries" if "query" in header else "report",
        parameters={parameter.name: parameter.default for parameter in named} | given,
        runs=header.get("runs", ""),
        is_optional="optional" in header,
        topic=header.get("topic", ""),
        below=header.get("below", ""),
    )


def _named_function(path: str) -> Draw:
    """Return a function that imports and calls `MODULE:FUNCTION`, whose module may import this one."""

    def draw(rows: Sequence[Row]) -> Iterable[Group]:
        groups: Iterable[Group] = resolve_name(path)(rows)
        return groups

    return draw


def _header(comment: Sequence[str]) -> dict[str, str]:
    header: dict[str, str] = {}
    for line in dropwhile(lambda line: not line.startswith("title: "), comment):
        if match := _KEY.fullmatch(line):
            header[match[1]] = match[2]
        else:
            header[next(reversed(header))] += f" {line}"
    return header


def _named(header: Mapping[str, str], kind: str) -> dict[str, str]:
    return {key.removeprefix(kind): text for key, text in header.items() if key.startswith(kind)}


EXAMPLES = tuple(read_exhibit(name, draw) for name, draw in LISTED.items())


def _with_followers(drawn: Mapping[str, Draw | None]) -> Iterator[Exhibit]:
    """Yield figures or tables, and after each one those of capabilities that follow it."""
    for name, draw in drawn.items():
        yield read_exhibit(name, draw)
        yield from _with_followers({other: None for other, before in _places().items() if before == name})


@cache
def _places() -> Mapping[str, str]:
    """Return file of an exhibit of a capability -> file of the one before it."""
    headers = {file.name: _header(file.comment) for file in sql_files("report")}
    return {name: header["after"] for name, header in headers.items() if "after" in header}


FIGURES = tuple(_with_followers(DRAWN))
TABLES = tuple(_with_followers(dict.fromkeys(TABULAR)))


def run_exhibit(catalog: Catalog, exhibit: Exhibit) -> tuple[Source, ...]:
    """Return one result per run of the exhibit's query; a query that has nothing to run for has an empty result.

    A run whose predictions are not in the store, such as those of a store that was copied without them, is left out
    with a warning.
    """
    runs = run_report_query(catalog, exhibit.runs).rows if exhibit.runs else ({},)
    results = []
    for row in runs:
        parameters = {**exhibit.parameters, **row}
        try:
            results.append(run_report_query(catalog, exhibit.query, folder=exhibit.folder, parameters=parameters))
        except UnreadableFileError as err:
            logger.warning("%s has no data: %s", exhibit.anchor, err)
    return tuple(results) or (Source(exhibit.query, report_query(exhibit.query, exhibit.folder), {}, (), ()),)
