"""Write the report: run every query, draw every figure, render the template, and write the file atomically."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from catalog.report.assets import page_script, style_sheet
from catalog.report.drawing.exhibits import Exhibit, Group, grouped
from catalog.report.drawing.heatmap import Grid
from catalog.report.drawing.svg import to_svg
from catalog.report.exhibit_sources import run_exhibit
from catalog.report.figures import FIGURES
from catalog.report.filters import FILTERS, Facets, attributes, facets_of
from catalog.report.labels import number, p_value
from catalog.report.query_results import MAX_DATA_ROWS, MAX_FILE_ROWS, Source, run_report_query
from catalog.report.report_examples import EXAMPLES
from catalog.report.report_tables import TABLES
from catalog.report.summary.best_variants import COLUMNS, TableRow
from catalog.report.summary.headline import ANSWER_COLUMNS, headlines
from catalog.report.summary.methods_text import methods_of
from catalog.results import Row
from catalog.store import Catalog
from catalog.visible_text import visible
from mlprune.atomic import remove_left_over, write_atomically
from mlprune.errors import BadInputError

TITLE = "Effects of pruning with translation demonstrations"
_FOLDER = Path(__file__).parent
_TEMPLATE = "page.html.j2"
MAX_TABLE_ROWS = 200
"""Maximum number of rows of a table in the page; the CSV file below it has all rows."""
_NUMERIC = re.compile(r"<?[+−-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_EMPTY = {"", "–"}
_WITHOUT_TRAILING_ZEROS = ("sparsity", "elapsed_s", "peak_memory_gib")
_CHANGES = ("difference", "chrf_change", "exact_match_change", "english_difference", "gap_change")
"""Columns whose numbers are shown with their sign."""


@dataclass(frozen=True)
class RenderedPanel:
    """A panel as a finished SVG element."""

    svg: Markup
    facets: Facets


@dataclass(frozen=True)
class RenderedGroup:
    """A group whose panels the template can insert."""

    group: Group
    panels: tuple[RenderedPanel | Grid, ...]


@dataclass(frozen=True)
class RenderedExhibit:
    """An exhibit with its data, as the template needs it."""

    exhibit: Exhibit
    sources: tuple[Source, ...]
    """One per run of its query."""
    groups: tuple[RenderedGroup, ...]
    headings: list[str]
    table: list[TableRow]
    """Rows of a table, at most `MAX_TABLE_ROWS`; empty for a figure."""


def write_report(catalog: Catalog, out: Path, *, title: str = TITLE) -> Path:
    """Write the report of a catalog as one HTML file that needs no network; equal catalogs give equal files.

    Args:
        catalog: the catalog; its first query folds it, if it was not folded before.
        out: path of the file, which is written atomically; missing parent folders are created.
        title: heading of the page.
    Returns: `out`.
    Raises:
        BadInputError: `out` is a folder or cannot be written.
    """
    if out.is_dir():
        raise BadInputError("the report cannot be written", expected="a file", got="a folder", path=str(out))
    text = visible(render_page(catalog, title=title))
    try:
        remove_left_over(out)
        write_atomically(out, text.encode())
    except OSError as err:
        raise BadInputError("the report cannot be written", path=str(out), reason=str(err)) from err
    return out


def render_page(catalog: Catalog, *, title: str = TITLE) -> str:
    """Return the HTML of the report; see `write_report`."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["attributes"] = lambda facets: Markup(attributes(facets))  # noqa: S704 - escaped there
    environment.filters["numeric_columns"] = numeric_columns
    script = page_script()
    overview, answers = (run_report_query(catalog, name) for name in ("overview", "answered_questions"))
    models = run_report_query(catalog, "base_models").rows
    return environment.get_template(_TEMPLATE).render(
        title=title,
        script=Markup(script),  # noqa: S704 - a file of this package
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style_sheet=Markup(style_sheet()),  # noqa: S704 - a file of this package
        snapshot=catalog.snapshot_id(),
        overview=overview.rows[0],
        overview_source=overview,
        models=models,
        filters=_filters(catalog),
        headlines=headlines(catalog, answers=answers.rows, models=models),
        headline_columns=COLUMNS,
        answer_columns=ANSWER_COLUMNS,
        answers_source=answers,
        methods=methods_of(catalog),
        figures=_render_all(catalog, (*FIGURES, *EXAMPLES)),
        tables=_render_all(catalog, TABLES),
        max_rows=MAX_DATA_ROWS,
        max_file_rows=MAX_FILE_ROWS,
        max_lines=MAX_TABLE_ROWS,
    )


def _filters(catalog: Catalog) -> list[tuple[str, str, list[str]]]:
    """Return name, heading and values of each filter that has values."""
    rows = dict(grouped(run_report_query(catalog, "filters").rows, "filter"))
    return [
        (name, heading, [str(row["value"]) for row in rows[name,]])
        for name, heading in FILTERS.items()
        if (name,) in rows
    ]


def _render_all(catalog: Catalog, exhibits: Sequence[Exhibit]) -> list[RenderedExhibit]:
    """Render exhibits, except optional ones without data."""
    rendered = [_render(catalog, exhibit) for exhibit in exhibits]
    return [result for result in rendered if not result.exhibit.is_optional or any(map(_has_rows, result.sources))]


def _render(catalog: Catalog, exhibit: Exhibit) -> RenderedExhibit:
    sources = run_exhibit(catalog, exhibit)
    rows = [row for source in sources for row in source.rows]
    groups = [
        group for source in sources for group in (exhibit.draw(source.rows) if exhibit.draw and source.rows else ())
    ]
    rendered = tuple(_render_group(group, f"{exhibit.anchor}-{index}") for index, group in enumerate(groups))
    columns = dict(exhibit.columns)
    if columns and len({row.get("base_model") for row in rows}) > 1:
        columns = {"base_model": "model", **columns}
    table = [
        TableRow(tuple(_cell_text(row, column, exhibit) for column in columns), facets_of(row))
        for row in rows[: MAX_TABLE_ROWS if columns else 0]
    ]
    return RenderedExhibit(exhibit, sources, rendered, list(columns.values()), table)


def _has_rows(source: Source) -> bool:
    return bool(source.rows)


def _render_group(group: Group, anchor: str) -> RenderedGroup:
    """Render the panels of a group as SVG; the template renders heat maps."""
    panels = tuple(
        panel if isinstance(panel, Grid) else RenderedPanel(Markup(to_svg(panel, f"{anchor}-{index}")), panel.facets)  # noqa: S704
        for index, panel in enumerate(group.panels)
    )
    return RenderedGroup(group, panels)


def _cell_text(row: Row, column: str, exhibit: Exhibit) -> str:
    """Return a value as a short text, with its interval if there is one."""
    text = _short_text(row[column], column)
    ends = [row[end] for end in exhibit.intervals.get(column, ())]
    if not ends or None in ends:
        return text
    low, high = (_short_text(end, column) for end in ends)
    return f"{text} ({low} to {high})"


def _short_text(value: object, column: str) -> str:
    """Return a short text: three digits, a dash for NULL; the data below the table has the full value."""
    if isinstance(value, float) and (column.startswith("p_") or column.endswith("_p_holm")):
        return p_value(value)
    if isinstance(value, float):
        return f"{value:g}" if column in _WITHOUT_TRAILING_ZEROS else number(value, signed=column in _CHANGES)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return "–" if value is None else str(value)


def numeric_columns(rows: Sequence[Sequence[str]]) -> list[bool]:
    """Return for each column whether it contains only numbers and dashes; the page right-aligns such columns."""
    return [
        all(_NUMERIC.fullmatch(text) or text in _EMPTY for text in column) and not _EMPTY.issuperset(column)
        for column in zip(*rows, strict=True)
    ]
