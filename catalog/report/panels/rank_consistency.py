"""RankC, the similarity of rankings in two languages: bars for English, and matrices of all languages."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from catalog.report.drawing.exhibits import Group, LegendEntry, Panel, Size, distinct, english_first, grouped
from catalog.report.drawing.heatmap import Grid, Scale
from catalog.report.drawing.svg import INK
from catalog.report.filters import facets_of
from catalog.report.labels import number, task_label
from catalog.report.style import BLUE, GREY
from catalog.results import Row

_TASK = ("base_model", "base_model_id", "task", "split")


def consistency_bars(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw two bars per language, for the dense model and the variant chosen for it; one panel per model and task.

    Args:
        rows: result of `rank_consistency.sql`.
    """
    legend = (LegendEntry("dense model", GREY, marker="bar"), LegendEntry("chosen variant", BLUE, marker="bar"))
    return tuple(
        Group(
            title=task_label(members[0]),
            panels=(_bars_panel(members),),
            rows=members,
            legend=legend,
            facets=facets_of(members[0], only=("model", "task")),
        )
        for _, members in grouped(rows, *_TASK)
    )


def _bars_panel(rows: Sequence[Row]) -> Panel:
    values = ", ".join(
        f"{row['language']} {'dense' if row['is_dense'] else 'chosen variant'} {number(row['rank_consistency'])}"
        for row in rows
    )
    width = max(3.4, 0.9 + 0.85 * len(distinct(rows, "language")))
    return Panel(
        label=f"RankC with English: {values}", size=Size(width, 2.8, left=0.46), draw=partial(_bars, rows=rows)
    )


def _bars(axes: Axes, *, rows: Sequence[Row]) -> None:
    languages = distinct(rows, "language")
    axes.grid(axis="y")
    for shift, is_dense, colour in ((-0.19, True, GREY), (0.19, False, BLUE)):
        bars = {row["language"]: row["rank_consistency"] for row in rows if bool(row["is_dense"]) == is_dense}
        positions = [position + shift for position, language in enumerate(languages) if language in bars]
        values = [bars[language] for language in languages if language in bars]
        axes.bar(positions, values, width=0.34, color=colour)
        for position, value in zip(positions, values, strict=True):
            axes.text(position, value, f"{value:.2f}", ha="center", va="bottom", fontsize=7.5, color=INK)
    axes.set_xticks(np.arange(len(languages)), languages)
    axes.set_xlim(-0.6, len(languages) - 0.4)
    axes.set_ylim(0, max(row["rank_consistency"] for row in rows) * 1.12 or 1.0)
    axes.set_title("RankC with English", color=INK, weight="bold")


def consistency_matrices(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw one matrix of languages for the dense model, and one for each variant that was chosen.

    Args:
        rows: result of `rank_matrices.sql`.
    """
    groups = []
    for _, members in grouped(rows, *_TASK):
        values = [row["rank_consistency"] for row in members]
        scale = Scale(min(values), max(values))
        groups.append(
            Group(
                title=task_label(members[0]),
                panels=tuple(_matrix(cells, scale=scale) for _, cells in grouped(members, "variant_id")),
                rows=members,
                legend=(LegendEntry(label=f"{number(scale.low)}|{number(scale.high)}: more alike", scale=scale),),
                facets=facets_of(members[0], only=("model", "task")),
            )
        )
    return tuple(groups)


def _matrix(rows: Sequence[Row], *, scale: Scale) -> Grid:
    languages = english_first(language for row in rows for language in (row["language"], row["reference_language"]))
    values = {
        (languages.index(row["language"]), languages.index(row["reference_language"])): row["rank_consistency"]
        for row in rows
    }
    first = rows[0]
    chosen_for = first["chosen_for"]
    title = f"chosen for {chosen_for}: {first['label']}" if chosen_for else "dense model"
    mean = sum(values.values()) / len(values)
    return Grid(
        title=title,
        label=f"RankC between languages, {title}: mean {number(mean)}",
        rows=tuple(languages),
        columns=tuple(languages),
        values=values,
        texts={position: number(value, digits=2) for position, value in values.items()},
        scale=scale,
        row_name="language",
        column_name="reference",
        facets=facets_of(first, only=("score", "pair")),
    )
