"""Differences to dense by source language of the demonstrations and language of the evaluation."""

from collections.abc import Sequence

from catalog.report.drawing.exhibits import (
    Group,
    english_first,
    evenly_spaced,
    grouped,
    omission_note,
)
from catalog.report.drawing.heatmap import Grid, Scale
from catalog.report.filters import facets_of
from catalog.report.labels import method_label, number
from catalog.report.panels.differences.methods import METHOD, change_legend
from catalog.report.panels.tasks import by_task
from catalog.results import Row

MAX_SPARSITIES, MAX_METHODS, MAX_SOURCES = 4, 6, 30
"""Maximum number of sparsities of a task, of heat maps of a sparsity and of rows; chosen at even distances."""
SMALLEST_RANGE = 0.02
"""Smallest half width of a colour scale, so that noise does not get strong colours."""


def source_heat_maps(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw heat maps for each task and sparsity: one per method, a row per source, a column per evaluated language.

    All heat maps of a sparsity share a colour scale.

    Args:
        rows: result of `sources_by_language.sql`.
    """
    groups = []
    for title, members in by_task(rows):
        sparsities = grouped(sorted(members, key=lambda row: row["sparsity"]), "sparsity")
        shown = evenly_spaced(sparsities, MAX_SPARSITIES)
        note = omission_note(len(shown), len(sparsities), "sparsities")
        for (sparsity,), cells in shown:
            groups.append(_sparsity_group(cells, title=f"{title}, sparsity {sparsity:g}{note}"))
    return tuple(groups)


def _sparsity_group(rows: Sequence[Row], *, title: str) -> Group:
    methods = [cells for _, cells in grouped(rows, *METHOD)]
    shown = evenly_spaced(methods, MAX_METHODS)
    largest = max(SMALLEST_RANGE, *(abs(row["difference"]) for cells in shown for row in cells))
    scale = Scale(-largest, largest, is_diverging=True)
    return Group(
        title=title + omission_note(len(shown), len(methods), "methods"),
        panels=tuple(_heat_map(cells, scale=scale) for cells in shown),
        rows=rows,
        legend=(change_legend(scale),),
        facets=facets_of(rows[0], only=("model", "task")),
        note=_note(rows),
    )


def _note(rows: Sequence[Row]) -> str:
    """Return how many cells are significant, what could have been found, and whether there is one seed."""
    found = [row["detectable_difference"] for row in rows if row["detectable_difference"] is not None]
    power = f" A single test finds a true difference of {number(max(found))} with a power of 80 %." if found else ""
    draws = "" if any(row["n_variants"] > 1 for row in rows) else " All are conditional on one draw of demonstrations."
    n_better, n_worse = (sum(_is_marked(row, column) for row in rows) for column in ("n_better", "n_worse"))
    return (
        f"Of {len(rows)} cells {n_better} are significantly better than dense and {n_worse} significantly worse."
        f"{power}{draws}"
    )


def _is_marked(row: Row, column: str) -> bool:
    """Whether all variants of a cell differ significantly from dense, in one direction."""
    return bool(row[column] == row["n_variants"])


def _heat_map(rows: Sequence[Row], *, scale: Scale) -> Grid:
    sources = english_first(str(row["demonstration_label"]) for row in rows)
    sources = evenly_spaced(sources, MAX_SOURCES)
    languages = english_first(row["language"] for row in rows)
    cells = {
        (sources.index(row["demonstration_label"]), languages.index(row["language"])): row
        for row in rows
        if row["demonstration_label"] in sources
    }
    differences = [row["difference"] for row in cells.values()]
    title = method_label(rows[0])
    span = f"from {number(min(differences), signed=True)} to {number(max(differences), signed=True)}"
    facets = {row["demonstration_label"]: facets_of(row, only=("pair",)) for row in rows}
    return Grid(
        title=title,
        label=f"Difference of accuracy to dense by source and evaluated language, {title}: {span}",
        rows=tuple(sources),
        columns=tuple(languages),
        values={position: row["difference"] for position, row in cells.items()},
        texts={position: _cell_text(row) for position, row in cells.items()},
        scale=scale,
        row_name="source",
        column_name="evaluated",
        facets=facets_of(rows[0], only=("score",)),
        row_facets=tuple(facets[source] for source in sources),
    )


def _cell_text(row: Row) -> str:
    mark = "*" if _is_marked(row, "n_better") or _is_marked(row, "n_worse") else ""
    return number(row["difference"], signed=True, digits=3) + mark
