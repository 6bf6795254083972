"""The final values of a search and one sentence about them, which follows from tests and never from means."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes

from catalog.report.drawing.exhibits import Group, Panel, Size, grouped
from catalog.report.drawing.svg import INK
from catalog.report.filters import facets_of
from catalog.report.labels import number, with_interval
from catalog.report.style import BLACK, BLUE, GREY
from catalog.report.summary.amounts import change, p_text
from catalog.report.summary.question_texts import group_text
from catalog.results import Row

_VERBS = {
    "winner is better": "is significantly better than",
    "not significant": "is not shown to differ from",
    "winner is worse": "is significantly worse than",
}


def final_panels(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw the objective of the winner and its comparators on the split of the report, one panel per search.

    Args:
        rows: result of `search_final.sql`.
    """
    return tuple(
        Group(
            title=f"{members[0]['name']}: {members[0]['direction']} {members[0]['objective']}",
            panels=(_panel(members),),
            rows=members,
            facets=facets_of(members[0], only=("model",)),
            note=verdict_sentence(members),
        )
        for _, members in grouped(rows, "result_id", "name", "recipe")
    )


def verdict_sentence(rows: Sequence[Row]) -> str:
    """Return what the tests of the winner against its comparators show.

    Args:
        rows: of `search_final.sql`, all of one report.
    """
    parts = []
    for verdict, verb in _VERBS.items():
        compared = [row for row in rows if row["verdict"] == verdict]
        if compared:
            parts.append(f"{verb} {' and '.join(map(_compared, compared))}")
    tested = [row for row in rows if row["p_holm"] is not None]
    same = [row["role"] for row in rows if row["verdict"] == "the same variant"]
    also = f" It is the same variant as {' and '.join(same)}." if same else ""
    if not tested:
        return f"{rows[0]['name']}: no test compares the winner with another variant.{also}"
    first = tested[0]
    where = f"{first['split']} {group_text(first)} ({first['metric']})"
    n_tests = first["n_tests"]
    correction = f"; p is corrected over {n_tests} comparators by Holm's method" if n_tests > 1 else ""
    return f"On {where}, the winner of {first['name']} {', and '.join(parts)}{correction}.{also}"


def _compared(row: Row) -> str:
    low, high = (change(row[f"tested_ci_{end}"], row["tested_scale"]) for end in ("low", "high"))
    difference = change(row["tested_difference"], row["tested_scale"])
    return f"{row['role']} ({difference}, {low} to {high}, {p_text(row['p_holm'])})"


def _panel(rows: Sequence[Row]) -> Panel:
    texts = [
        f"{row['role']} {with_interval(row['test_value'], row['test_ci_low'], row['test_ci_high'])}" for row in rows
    ]
    label = f"Objective on the split of the report: {', '.join(texts)}; dense {number(rows[0]['test_dense_value'])}"
    size = Size(4.6, 0.75 + 0.3 * len(rows), left=0.8, right=0.2, bottom=0.4)
    return Panel(label=label, size=size, draw=partial(_draw, rows=rows))


def _draw(axes: Axes, *, rows: Sequence[Row]) -> None:
    axes.set_title("objective, 95 % intervals; dashed: dense", color=INK, weight="bold", fontsize=9)
    axes.grid(axis="x")
    if rows[0]["test_dense_value"] is not None:
        axes.axvline(rows[0]["test_dense_value"], color=BLACK, linestyle="--", linewidth=1.0)
    for place, row in enumerate(rows):
        colour = BLUE if row["role"] == "winner" else GREY
        if row["test_ci_low"] is not None:
            axes.hlines(place, row["test_ci_low"], row["test_ci_high"], color=colour, linewidth=1.6)
        if row["test_value"] is not None:
            axes.plot([row["test_value"]], [place], "o", color=colour, markersize=5)
    axes.set_yticks(range(len(rows)), [str(row["role"]) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
