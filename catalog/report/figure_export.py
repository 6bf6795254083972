"""Export figures for publications: one PDF or SVG file per figure of the report, with its SQL and its data."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from catalog.report.drawing.exhibits import Exhibit, Group
from catalog.report.drawing.figure_layout import WIDTH, draw_sheet, split_group
from catalog.report.drawing.svg import drawing
from catalog.report.exhibit_sources import run_exhibit
from catalog.report.figures import FIGURES
from catalog.report.filters import FILTERS, Chosen, facets_of, matches_filters
from catalog.report.query_results import Source, run_report_query
from catalog.results import Value
from catalog.store import Catalog
from mlprune.errors import BadInputError, unknown

FORMATS = ("pdf", "svg")
MAX_NAME_LENGTH = 80
"""Maximum length of a file's name, without suffix."""


@dataclass(frozen=True)
class FigureSelection:
    """Figures to export, and their format."""

    format: str = "pdf"
    figures: tuple[str, ...] = ()
    """Names of figures, which are anchors in the report; empty for all."""
    chosen: Chosen = field(default_factory=dict)
    """Values of each filter, as in the report; a filter without values matches everything."""
    width: float = WIDTH
    """Width of a sheet, in inches."""


def write_figures(catalog: Catalog, out: Path, selection: FigureSelection | None = None) -> Iterator[Path]:
    """Draw and write figures, and yield the path of each file after it is written. Equal catalogs give equal files.

    Args:
        out: a folder, which is created; files with the same names are replaced.
    Raises:
        BadInputError: a format, a figure or a value of a filter is unknown, or a file cannot be written.
    """
    selection = selection or FigureSelection()
    exhibits = _exhibits(selection)
    _check_chosen(catalog, selection.chosen)
    snapshot = catalog.snapshot_id()
    for exhibit in exhibits:
        sources = [_filtered(source, selection) for source in run_exhibit(catalog, exhibit)]
        drawn = [
            (source, group)
            for source in sources
            for group in (exhibit.draw(source.rows) if exhibit.draw and source.rows else ())
        ]
        names = _file_names(exhibit, [group for _, group in drawn])
        for name, (source, group) in zip(names, drawn, strict=True):
            yield from _write(out / name, group, source=source, snapshot=snapshot, selection=selection)


def _exhibits(selection: FigureSelection) -> list[Exhibit]:
    if selection.format not in FORMATS:
        raise BadInputError("no such figure format", expected=list(FORMATS), got=selection.format)
    figures = {exhibit.anchor: exhibit for exhibit in FIGURES}
    for name in selection.figures:
        _check_name(name, list(figures), what="figure")
    return [figures[name] for name in selection.figures or figures]


def _check_chosen(catalog: Catalog, chosen: Chosen) -> None:
    """Refuse an unknown value of a filter, which would match nothing."""
    rows = run_report_query(catalog, "filters").rows
    for name in FILTERS:
        for value in chosen.get(name, ()):
            _check_name(value, [str(row["value"]) for row in rows if row["filter"] == name], what=name)


def _check_name(name: str, names: Sequence[str], *, what: str) -> None:
    if name not in names:
        raise unknown(what, name, sorted(names), error=BadInputError)


def _filtered(source: Source, selection: FigureSelection) -> Source:
    """Keep the rows that match the filters; if no pair is chosen, the means over the pairs, as in the report."""
    return replace(source, rows=tuple(row for row in source.rows if matches_filters(facets_of(row), selection.chosen)))


def _file_names(exhibit: Exhibit, groups: Sequence[Group]) -> Iterator[str]:
    """Yield unique names of files: the exhibit's anchor, followed by the group's title if there are several groups."""
    used_names: set[str] = set()
    for group in groups:
        title = re.sub(r"[^\w]+", "-", group.title.lower()).strip("-_") if len(groups) > 1 else ""
        name = f"{exhibit.anchor}-{title}"[:MAX_NAME_LENGTH].strip("-")
        n = 1
        while (unique := name if n == 1 else f"{name}-{n}") in used_names:
            n += 1
        used_names.add(unique)
        yield unique


def _write(path: Path, group: Group, *, source: Source, snapshot: str, selection: FigureSelection) -> Iterator[Path]:
    """Write the figure's SQL and data, then the figure, in parts if it is too high for a page.

    Args:
        path: path of all files, without suffix.
    """
    description = f"{group.title}; snapshot {snapshot} of the catalog; SQL in {path.name}.sql, data in {path.name}.csv"
    parts = split_group(group, width=selection.width)
    target = path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{path}.sql").write_text(_sql(source, group, snapshot=snapshot), "utf-8", newline="\n")
        Path(f"{path}.csv").write_bytes(replace(source, rows=tuple(group.rows)).csv)
        for number, part in enumerate(parts, start=1):
            target = Path(f"{path}{f'-part-{number}' if len(parts) > 1 else ''}.{selection.format}")
            with drawing():
                figure = draw_sheet(part, width=selection.width)
                figure.savefig(target, format=selection.format, metadata=_metadata(selection.format, description))
            yield target
    except OSError as err:
        with suppress(OSError):
            target.unlink(missing_ok=True)
        raise BadInputError("a figure cannot be written", path=str(target), reason=str(err)) from err


def _sql(source: Source, group: Group, *, snapshot: str) -> str:
    """Return the query, followed by comments with its parameters and a description of the rows that are drawn."""
    notes = [f"snapshot {snapshot} of the catalog"]
    notes += [f"${name} = {json.dumps(value)}" for name, value in source.parameters.items()]
    notes += [
        f"rows with {column} = {json.dumps(value, default=str)}" for column, value in _constant_columns(source, group)
    ]
    return source.sql.rstrip("\n") + "\n" + "".join(f"-- {line}\n" for line in notes)


def _constant_columns(source: Source, group: Group) -> list[tuple[str, Value]]:
    """Return the columns, with their values, that are constant in the group but not in the whole result."""
    constant = []
    for column in source.columns:
        values = {row[column] for row in group.rows}
        if len(values) == 1 and len({row[column] for row in source.rows}) > 1:
            constant.append((column, values.pop()))
    return constant


def _metadata(format: str, description: str) -> Mapping[str, str | None]:  # noqa: A002
    """Return metadata without time and program, so that equal figures give equal files."""
    if format == "pdf":
        return {"Subject": description, "CreationDate": None, "Creator": None, "Producer": None}
    return {"Description": description, "Date": None, "Creator": None}
