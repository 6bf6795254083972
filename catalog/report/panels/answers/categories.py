"""Accuracy by category of items, such as a relation or a genre: one panel per language, with intervals."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from catalog.report.drawing.exhibits import (
    Group,
    LegendEntry,
    Panel,
    Size,
    english_first,
    evenly_spaced,
    grouped,
    has_several_rules,
    omission_note,
)
from catalog.report.drawing.svg import INK, QUIET
from catalog.report.filters import facets_of
from catalog.report.labels import number, task_label
from catalog.report.style import BLUE, GREY
from catalog.results import Row
from mlprune.numeric.statistics.interval import Interval
from mlprune.numeric.statistics.proportions import effective_size, wilson_interval

MAX_LANGUAGES, MAX_CATEGORIES = 12, 16
"""Maximum number of panels of a variant, at even distances, and of rows of a panel, those with most items."""
_SIDES = ((-0.16, "n_dense_right", "dense_cluster_rights", GREY), (0.16, "n_right", "cluster_rights", BLUE))
"""Shift of a point, its columns and its colour: the dense model, then the variant."""


def category_panels(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw the accuracy of a variant and the dense model by category; one panel per language.

    Args:
        rows: result of `category_answers.sql`.
    """
    legend = (
        LegendEntry("dense model", GREY, marker="o", line=False),
        LegendEntry("variant", BLUE, marker="o", line=False),
    )
    groups = []
    for _, members in grouped(rows, "base_model_id", "label", "task", "split", "scoring_rule"):
        by_language = dict(grouped(members, "language"))
        languages = [by_language[language,] for language in english_first(row["language"] for row in members)]
        shown = evenly_spaced(languages, MAX_LANGUAGES)
        title = task_label({**members[0], "example_limit": None}, with_rule=has_several_rules(rows, members[0]))
        groups.append(
            Group(
                title=f"{title}, {members[0]['label']}" + omission_note(len(shown), len(languages), "languages"),
                panels=tuple(_panel(cells) for cells in shown),
                rows=members,
                legend=legend,
                facets=facets_of(members[0], only=("model", "task", "score")),
            )
        )
    return tuple(groups)


def accuracy_interval(row: Row, n_right: str, rights: str) -> Interval:
    """Return Wilson's interval of an accuracy; items of one cluster depend on each other (`effective_size`).

    Args:
        n_right: column with the number of right items.
        rights: column with the number of right items by cluster.
    """
    n = effective = float(row["n"])
    if row["cluster_sizes"] is not None:
        codes = np.repeat(np.arange(row["n_clusters"]), row["cluster_sizes"])
        credit = [
            float(place < right)
            for size, right in zip(row["cluster_sizes"], row[rights], strict=True)
            for place in range(size)
        ]
        effective = effective_size(np.array(credit), codes)
    return wilson_interval(row[n_right] / n * effective, effective)


def _panel(rows: Sequence[Row]) -> Panel:
    shown = rows[:MAX_CATEGORIES]
    texts = ", ".join(
        f"{row['category']} {number(row['n_dense_right'] / row['n'])}, {number(row['n_right'] / row['n'])}"
        for row in shown
    )
    note = omission_note(len(shown), len(rows), "categories")
    width = 0.075 * max(len(_name(row)) for row in shown)
    return Panel(
        label=f"Accuracy in {rows[0]['language']} by category, dense and variant: {texts}{note}",
        size=Size(2.6 + width, 0.72 + 0.27 * len(shown), left=0.2 + width, right=0.55, bottom=0.36),
        draw=partial(_draw, rows=shown, title=f"{rows[0]['language']}{note}"),
    )


def _name(row: Row) -> str:
    return f"{row['category']} (n = {row['n']:,})"


def _draw(axes: Axes, *, rows: Sequence[Row], title: str) -> None:
    axes.set_title(title, color=INK, weight="bold", fontsize=9)
    axes.grid(axis="x")
    for position, row in enumerate(rows):
        for shift, n_right, rights, colour in _SIDES:
            interval = accuracy_interval(row, n_right, rights)
            axes.hlines(position + shift, interval.low, interval.high, color=colour, linewidth=1.4)
            axes.plot([row[n_right] / row["n"]], [position + shift], "o", color=colour, markersize=3.5)
        axes.text(1.03, position, f"+{row['n_gained']} −{row['n_lost']}", va="center", fontsize=7.5, color=QUIET)
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(-0.01, 1.01)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
