"""Figures for publications: one PDF or SVG file a figure of the report, with its SQL and its data beside it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from catalog.report.drawing.exhibits import Exhibit, Group
from catalog.report.drawing.figure_layout import WIDTH, sheet, split_group
from catalog.report.drawing.svg import drawing
from catalog.report.figures import FIGURES
from catalog.report.filters import FILTERS, Chosen, facets_of, fits
from catalog.report.query_results import Source, answer
from catalog.store import Catalog
from mlprune.errors import BadInputError, unknown

FORMATS = ("pdf", "svg")
MOST_LETTERS = 80
"""Of a file's name, without its ending."""


@dataclass(frozen=True)
class FigureSelection:
    """What is to be drawn, and how."""

    format: str = "pdf"
    figures: tuple[str, ...] = ()
    """Names of figures, which are the anchors of the report; empty for all."""
    chosen: Chosen = field(default_factory=dict)
    """Values of each filter, as in the report; a filter without values lets everything pass."""
    width: float = WIDTH
    """Of a sheet, in inches."""


def write_figures(catalog: Catalog, out: Path, wanted: FigureSelection | None = None) -> Iterator[Path]:
    """Draw and write, and give each figure's path as soon as it is there; equal catalogs make equal files.

    Args:
        out: a folder, which is made; files of the same names are replaced.
    Raises:
        BadInputError: a format, a figure or a value of a filter is unknown, or a file cannot be written.
    """
    wanted = wanted or FigureSelection()
    exhibits = _exhibits(wanted)
    _check_chosen(catalog, wanted.chosen)
    snapshot = catalog.snapshot_id()
    for exhibit in exhibits:
        source = _filtered(answer(catalog, exhibit.query, folder=exhibit.folder, parameters=exhibit.parameters), wanted)
        assert exhibit.draw is not None, "figures are drawn"
        groups = exhibit.draw(source.rows) if source.rows else ()
        for name, group in _named(exhibit, groups):
            yield from _write(out / name, group, source=source, snapshot=snapshot, wanted=wanted)


def _exhibits(wanted: FigureSelection) -> list[Exhibit]:
    if wanted.format not in FORMATS:
        raise BadInputError("no such format of figures", expected=list(FORMATS), got=wanted.format)
    known = {exhibit.anchor: exhibit for exhibit in FIGURES}
    for name in wanted.figures:
        _check_known(name, list(known), what="figure")
    return [known[name] for name in wanted.figures or known]


def _check_chosen(catalog: Catalog, chosen: Chosen) -> None:
    """Refuse a value that filters everything away because it is misspelt."""
    rows = answer(catalog, "filters").rows
    for name in FILTERS:
        for value in chosen.get(name, ()):
            _check_known(value, [str(row["value"]) for row in rows if row["filter"] == name], what=name)


def _check_known(name: str, known: Sequence[str], *, what: str) -> None:
    if name not in known:
        raise unknown(what, name, sorted(known), error=BadInputError)


def _filtered(source: Source, wanted: FigureSelection) -> Source:
    """The rows that fit what is chosen; without a pair the means over the pairs, as in the report."""
    return replace(source, rows=tuple(row for row in source.rows if fits(facets_of(row), wanted.chosen)))


def _named(exhibit: Exhibit, groups: Sequence[Group]) -> Iterator[tuple[str, Group]]:
    """Names of files: of the exhibit alone where it has one group, otherwise with the group's title; all different."""
    taken: set[str] = set()
    for group in groups:
        title = re.sub(r"[^\w]+", "-", group.title.lower()).strip("-_") if len(groups) > 1 else ""
        name = f"{exhibit.anchor}-{title}"[:MOST_LETTERS].strip("-")
        place = 1
        while (unique := name if place == 1 else f"{name}-{place}") in taken:
            place += 1
        taken.add(unique)
        yield unique, group


def _write(path: Path, group: Group, *, source: Source, snapshot: str, wanted: FigureSelection) -> Iterator[Path]:
    """The figure's SQL and the data of what is drawn in it, then the figure, in parts where it is too high for a page.

    Args:
        path: of all of them, without their endings.
    """
    about = f"{group.title}; snapshot {snapshot} of the catalog; SQL in {path.name}.sql, data in {path.name}.csv"
    cut = split_group(group, width=wanted.width)
    drawn = path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{path}.sql").write_text(_sql(source, group, snapshot=snapshot), "utf-8", newline="\n")
        Path(f"{path}.csv").write_bytes(replace(source, rows=tuple(group.rows)).csv)
        for place, part in enumerate(cut, start=1):
            drawn = Path(f"{path}{f'-part-{place}' if len(cut) > 1 else ''}.{wanted.format}")
            with drawing():
                figure = sheet(part, width=wanted.width)
                figure.savefig(drawn, format=wanted.format, metadata=_metadata(wanted.format, about))
            yield drawn
    except OSError as err:
        with suppress(OSError):
            drawn.unlink(missing_ok=True)
        raise BadInputError("a figure cannot be written", path=str(drawn), reason=str(err)) from err


def _sql(source: Source, group: Group, *, snapshot: str) -> str:
    """The query, and in comments what its parameters were and which of its rows are drawn."""
    said = [f"snapshot {snapshot} of the catalog"]
    said += [f"${name} = {json.dumps(value)}" for name, value in source.parameters.items()]
    said += [f"rows with {column} = {json.dumps(value, default=str)}" for column, value in _shared(source, group)]
    return source.sql.rstrip("\n") + "\n" + "".join(f"-- {line}\n" for line in said)


def _shared(source: Source, group: Group) -> list[tuple[str, Any]]:
    """Columns that have one value in all rows of the group, and others outside of it."""
    found = []
    for column in source.columns:
        inside = {row[column] for row in group.rows}
        if len(inside) == 1 and len({row[column] for row in source.rows}) > 1:
            found.append((column, inside.pop()))
    return found


def _metadata(ending: str, about: str) -> Mapping[str, Any]:
    """What the file says of itself; nothing of the clock or the program, so that equal figures are equal files."""
    if ending == "pdf":
        return {"Subject": about, "CreationDate": None, "Creator": None, "Producer": None}
    return {"Description": about, "Date": None, "Creator": None}
