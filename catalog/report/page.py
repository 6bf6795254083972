"""From the catalog to the page: answer every query, draw every figure, fill the template, write the file at once."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from catalog.report.drawing.exhibits import Exhibit, Group, grouped
from catalog.report.drawing.heatmap import Grid, style_rules
from catalog.report.drawing.svg import to_svg
from catalog.report.figures import FIGURES
from catalog.report.filters import FILTERS, Facets, attributes, facets_of
from catalog.report.labels import Row, number
from catalog.report.query_results import MOST_ROWS_SHOWN, Source, answer
from catalog.report.summary.headline import COLUMNS, TableRow, headlines
from catalog.report.tables import TABLES
from catalog.store import Catalog
from mlprune.atomic import write_atomically
from mlprune.errors import BadInputError

TITLE = "What pruning with translation demonstrations did"
_FOLDER = Path(__file__).parent
_TEMPLATE, _SCRIPT = "page.html.j2", "page.js"
MOST_LINES_SHOWN = 200
"""Rows of a table in the page; the CSV file below it holds all."""
_NUMERIC = re.compile(r"<?[+−-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_NOTHING = {"", "–"}
_AS_THEY_ARE = ("sparsity", "elapsed_s", "peak_memory_gib")
"""Columns whose numbers are shown without trailing zeros."""
_CHANGES = ("difference", "chrf_change")
"""Columns whose numbers are shown with their sign."""


@dataclass(frozen=True)
class RenderedPanel:
    """A panel as a finished SVG element."""

    svg: Markup
    facets: Facets


@dataclass(frozen=True)
class RenderedGroup:
    """A group with its panels as the template takes them."""

    group: Group
    panels: tuple[RenderedPanel | Grid, ...]


@dataclass(frozen=True)
class RenderedExhibit:
    """One exhibit with its data."""

    exhibit: Exhibit
    source: Source
    groups: tuple[RenderedGroup, ...]
    headings: list[str]
    table: list[TableRow]
    """Visible rows of a table, at most `MOST_LINES_SHOWN`; empty for a figure."""


def write_report(catalog: Catalog, out: Path, *, title: str = TITLE) -> Path:
    """Write the report of a catalog: one HTML file that needs no network; equal catalogs make equal files.

    Args:
        catalog: folded before, or at its first query.
        out: the file; folders above it are made. It appears whole or not at all.
        title: heading of the page.
    Returns: `out`.
    Raises:
        BadInputError: `out` is a folder or cannot be written.
    """
    if out.is_dir():
        raise BadInputError("the report cannot be written", expected="a file", got="a folder", path=str(out))
    text = render_page(catalog, title=title)
    try:
        write_atomically(out, text.encode())
    except OSError as err:
        raise BadInputError("the report cannot be written", path=str(out), reason=str(err)) from err
    return out


def render_page(catalog: Catalog, *, title: str = TITLE) -> str:
    """The text of the report; see `write_report`."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["attributes"] = lambda facets: Markup(attributes(facets))  # noqa: S704 - escaped there
    environment.filters["numeric_columns"] = numeric_columns
    script = (_FOLDER / _SCRIPT).read_text("utf-8")
    overview = answer(catalog, "overview")
    return environment.get_template(_TEMPLATE).render(
        title=title,
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        cell_styles=Markup(style_rules()),  # noqa: S704 - colours of our own
        snapshot=catalog.snapshot_id(),
        overview=overview.rows[0],
        overview_source=overview,
        models=answer(catalog, "base_models").rows,
        filters=_filters(catalog),
        headlines=headlines(catalog),
        headline_columns=COLUMNS,
        figures=_all_shown(catalog, FIGURES),
        tables=_all_shown(catalog, TABLES),
        most_rows=MOST_ROWS_SHOWN,
        most_lines=MOST_LINES_SHOWN,
    )


def _filters(catalog: Catalog) -> list[tuple[str, str, list[str]]]:
    """Name, heading and values of each filter that has any."""
    values = dict(grouped(answer(catalog, "filters").rows, "filter"))
    found = [(name, said, [str(row["value"]) for row in values.get((name,), ())]) for name, said in FILTERS.items()]
    return [one for one in found if one[2]]


def _all_shown(catalog: Catalog, exhibits: Sequence[Exhibit]) -> list[RenderedExhibit]:
    """Exhibits with their data, without the optional ones that have none."""
    shown = [_shown(catalog, exhibit) for exhibit in exhibits]
    return [one for one in shown if one.source.rows or not one.exhibit.is_optional]


def _shown(catalog: Catalog, exhibit: Exhibit) -> RenderedExhibit:
    source = answer(catalog, exhibit.query, folder=exhibit.folder, parameters=exhibit.parameters)
    groups = exhibit.draw(source.rows) if exhibit.draw and source.rows else ()
    drawn = tuple(_drawn(group, f"{exhibit.anchor}-{place}") for place, group in enumerate(groups))
    columns = dict(exhibit.columns)
    if columns and len({row.get("base_model") for row in source.rows}) > 1:
        columns = {"base_model": "model", **columns}
    lines = [
        TableRow(tuple(_said(row, column) for column in columns), facets_of(row))
        for row in source.rows[: MOST_LINES_SHOWN if columns else 0]
    ]
    return RenderedExhibit(exhibit, source, drawn, list(columns.values()), lines)


def _drawn(group: Group, anchor: str) -> RenderedGroup:
    """A group as the template takes it: panels as SVG, heat-maps as they are."""
    panels = tuple(
        panel if isinstance(panel, Grid) else RenderedPanel(Markup(to_svg(panel, f"{anchor}-{place}")), panel.facets)  # noqa: S704
        for place, panel in enumerate(group.panels)
    )
    return RenderedGroup(group, panels)


def _said(row: Row, column: str) -> str:
    return _short(row[column], column)


def _short(value: object, column: str) -> str:
    """A value for the eye: three digits, a dash for nothing; the full one is in the data below the table."""
    if isinstance(value, float):
        return f"{value:g}" if column in _AS_THEY_ARE else number(value, signed=column in _CHANGES)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return "–" if value is None else str(value)


def numeric_columns(rows: Sequence[Sequence[str]]) -> list[bool]:
    """Of each column of cells, whether it holds numbers and, beside them, dashes at most: it then stands right."""
    return [
        all(_NUMERIC.fullmatch(text) or text in _NOTHING for text in column) and not _NOTHING.issuperset(column)
        for column in zip(*rows, strict=True)
    ]
