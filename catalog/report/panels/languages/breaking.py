"""Sparsities between which the accuracy of a method falls significantly below dense: a row per method."""

from collections.abc import Sequence

from catalog.report.drawing.exhibits import (
    Group,
    LegendEntry,
    distinct,
    english_first,
    evenly_spaced,
    grouped,
    omission_note,
)
from catalog.report.drawing.heatmap import Grid, Scale
from catalog.report.filters import facets_of
from catalog.report.labels import number, text_range
from catalog.report.panels.tasks import by_task
from catalog.results import Row

MAX_METHODS = 40
"""Maximum number of rows of a table; methods are chosen at even distances."""
_METHOD = ("method", "propagation", "settings", "shots", "samples")


def breaking_tables(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw one table per model and task, with a row per method and a column per language.

    A cell is the interval that contains the breaking sparsity; its colour is the lower end.

    Args:
        rows: result of `breaking_sparsity.sql`.
    """
    groups = []
    for title, members in by_task(rows):
        methods = [cells for _, cells in grouped(members, *_METHOD)]
        shown = evenly_spaced(methods, MAX_METHODS)
        scale = Scale(0.0, max(row["last_not_below"] for row in members) or 1.0)
        groups.append(
            Group(
                title=title + omission_note(len(shown), len(methods), "methods"),
                panels=(_table(shown, languages=english_first(row["language"] for row in members), scale=scale),),
                rows=members,
                legend=(LegendEntry(f"0|{scale.high:g}: largest sparsity that is not below dense", scale=scale),),
                facets=facets_of(members[0], only=("model", "task")),
                note=_note(members),
            )
        )
    return tuple(groups)


def _note(rows: Sequence[Row]) -> str:
    """Return the number of items and tests, what a test finds, and whether there is one seed, as text."""
    sizes = sorted({row["n"] for row in rows if row["n"] is not None})
    items = "" if not sizes else f"{text_range(f'{sizes[0]:,}', f'{sizes[-1]:,}')} items. "
    differences = sorted(row["detectable_difference"] for row in rows if row["detectable_difference"] is not None)
    found = text_range(number(differences[0]), number(differences[-1])) if differences else ""
    power = f" A single test finds a true difference of {found} with a power of 80 %." if found else ""
    one_draw = all(row["n_variants"] == 1 for row in rows if row["demonstration_label"] is not None)
    return (
        f"{items}Holm's correction over at most {max(distinct(rows, 'n_family'))} tests.{power}"
        f"{' Every set is a single draw of demonstrations.' if one_draw else ''}"
    )


def _table(methods: Sequence[Sequence[Row]], *, languages: Sequence[str], scale: Scale) -> Grid:
    cells = {(down, languages.index(row["language"])): row for down, members in enumerate(methods) for row in members}
    n_broken = sum(row["first_below"] is not None for row in cells.values())
    return Grid(
        title="between which sparsities accuracy falls below dense",
        label=f"Breaking sparsity by method and language: {n_broken} of {len(cells)} curves fall below dense",
        rows=tuple(_name(members[0]) for members in methods),
        columns=tuple(languages),
        values={position: row["last_not_below"] for position, row in cells.items()},
        texts={position: interval_text(row) for position, row in cells.items()},
        scale=scale,
        row_name="method",
        column_name="language",
        row_facets=tuple(facets_of(members[0], only=("score", "pair")) for members in methods),
    )


def _name(row: Row) -> str:
    return f"{row['method']} ({row['n_variants']} variants)" if row["n_variants"] > 1 else str(row["method"])


def interval_text(row: Row) -> str:
    """Return the interval as text: `0.2–0.3`, `≤ 0.1` if the smallest sparsity is below, `> 0.6` if none is."""
    last, first = row["last_not_below"], row["first_below"]
    if first is None:
        return f"> {last:g}"
    text = f"{last:g}–{first:g}" if last else f"≤ {first:g}"
    return f"{text}†" if row["n_not_below_after"] else text
