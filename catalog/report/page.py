"""From the catalog to the page: answer every query, draw every figure, fill the template, write the file at once."""

import os
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from catalog.report.contents import FIGURES, TABLES
from catalog.report.exhibits import Exhibit, Group
from catalog.report.headline import headlines
from catalog.report.sources import MOST_ROWS_SHOWN, Source, answer
from catalog.report.words import number
from catalog.store import Catalog
from mlprune.errors import BadInputError

TITLE = "What pruning with translation demonstrations did"
_TEMPLATE = "page.html.j2"
_NUMERIC = re.compile(r"<?[+−-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_NOTHING = {"", "–"}
_AS_THEY_ARE = ("sparsity", "elapsed_s", "peak_memory_gib")
"""Columns whose numbers are shown without trailing zeros."""


@dataclass(frozen=True)
class Shown:
    """One exhibit with its data."""

    exhibit: Exhibit
    source: Source
    groups: tuple[Group, ...]
    headings: list[str]
    table: list[list[str]]
    """Visible cells of a table, at most `MOST_ROWS_SHOWN` rows; empty for a figure."""


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
    temporary = out.with_name(f".{out.name}.writing-{uuid.uuid4().hex[:8]}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(out)
    except OSError as err:
        raise BadInputError("the report cannot be written", path=str(out), reason=str(err)) from err
    finally:
        temporary.unlink(missing_ok=True)
    return out


def render_page(catalog: Catalog, *, title: str = TITLE) -> str:
    """The text of the report; see `write_report`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = Markup
    environment.filters["numeric_columns"] = numeric_columns
    return environment.get_template(_TEMPLATE).render(
        title=title,
        models=answer(catalog, "base_models").rows,
        headlines=headlines(catalog),
        figures=_all_shown(catalog, FIGURES),
        tables=_all_shown(catalog, TABLES),
        most_rows=MOST_ROWS_SHOWN,
    )


def _all_shown(catalog: Catalog, exhibits: Sequence[Exhibit]) -> list[Shown]:
    """Exhibits with their data, without the optional ones that have none."""
    shown = [_shown(catalog, exhibit) for exhibit in exhibits]
    return [one for one in shown if one.source.rows or not one.exhibit.is_optional]


def _shown(catalog: Catalog, exhibit: Exhibit) -> Shown:
    source = answer(catalog, exhibit.query, folder=exhibit.folder, parameters=exhibit.parameters)
    groups = exhibit.draw(source.rows, exhibit.anchor) if exhibit.draw and source.rows else ()
    columns = dict(exhibit.columns)
    if columns and len({row.get("base_model") for row in source.rows}) > 1:
        columns = {"base_model": "model", **columns}
    table = [[_short(row[column], column) for column in columns] for row in source.rows[:MOST_ROWS_SHOWN]]
    return Shown(exhibit, source, groups, list(columns.values()), table if columns else [])


def _short(value: object, column: str) -> str:
    """A value for the eye: three digits, a dash for nothing; the full one is in the data below the table."""
    if isinstance(value, float):
        return f"{value:g}" if column in _AS_THEY_ARE else number(value)
    return "–" if value is None else str(value)


def numeric_columns(rows: Sequence[Sequence[str]]) -> list[bool]:
    """Of each column of cells, whether it holds numbers and, beside them, dashes at most: it then stands right."""
    return [
        all(_NUMERIC.fullmatch(text) or text in _NOTHING for text in column) and not _NOTHING.issuperset(column)
        for column in zip(*rows, strict=True)
    ]
