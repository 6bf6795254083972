"""RankC, the similarity of rankings in two languages: values with English, and matrices of all languages."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from catalog.report.exhibits import Grid, Group, LegendEntry, Panel, Scale, Size, distinct, grouped
from catalog.report.labels import BLUE, GREY, VERMILLION, facets_of, number, task_label, with_interval
from catalog.report.svg import INK, half_matrix, interval_line, start
from catalog.results import Row

_TASK = ("base_model", "base_model_id", "task", "split")
_SIDES = ((-0.15, True, GREY, "dense model"), (0.15, False, BLUE, "chosen variant"))
"""Shift of a point, whether it is dense, its colour and its name."""


def consistency_intervals(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw two intervals per language, for the dense model and the variant chosen for it; one panel per model and task.

    Args:
        rows: result of `rank_consistency.sql`.
    """
    legend = (
        *(LegendEntry(name, colour, marker="o", line=False) for _, _, colour, name in _SIDES),
        LegendEntry("chance", VERMILLION, dashed=True),
    )
    return tuple(
        Group(
            title=task_label(members[0]),
            panels=(_intervals_panel(members), *_difference_panels(members)),
            rows=members,
            legend=legend,
            facets=facets_of(members[0], only=("model", "task")),
        )
        for _, members in grouped(rows, *_TASK)
    )


def _intervals_panel(rows: Sequence[Row]) -> Panel:
    values = ", ".join(
        f"{row['language']} {'dense' if row['is_dense'] else 'chosen variant'} "
        + with_interval(row["rank_consistency"], row["ci_low"], row["ci_high"])
        for row in rows
    )
    chance = ", ".join(dict.fromkeys(number(row["chance"]) for row in rows if row["chance"] is not None))
    width = max(3.4, 0.9 + 0.85 * len(distinct(rows, "language")))
    label = f"RankC with English: {values}; chance {chance or 'unknown'}"
    return Panel(label=label, size=Size(width, 2.8, left=0.46), draw=partial(_intervals, rows=rows))


def _difference_panels(rows: Sequence[Row]) -> tuple[Panel, ...]:
    """Return a panel with the differences to dense, if some are stored."""
    changed = [row for row in rows if not row["is_dense"] and row.get("difference") is not None]
    if not changed:
        return ()
    values = ", ".join(
        f"{row['language']} "
        + with_interval(row["difference"], row["difference_ci_low"], row["difference_ci_high"], signed=True)
        for row in changed
    )
    width = max(3.4, 0.9 + 0.7 * len(distinct(changed, "language")))
    label = f"RankC with English, chosen variant minus dense: {values}"
    return (Panel(label=label, size=Size(width, 2.8, left=0.56), draw=partial(_differences, rows=changed)),)


def _differences(axes: Axes, *, rows: Sequence[Row]) -> None:
    languages = distinct(rows, "language")
    start(axes, "chosen variant minus dense", size=10.5)
    axes.axhline(0, color=GREY, linewidth=1.1)
    for row in rows:
        x, value = languages.index(row["language"]), row["difference"]
        interval_line(axes, x, value, (row["difference_ci_low"], row["difference_ci_high"]), colour=BLUE, markersize=4)
        text = number(value, signed=True, digits=2)
        axes.text(x + 0.06, value, text, ha="left", va="center", fontsize=7.5, color=INK)
    axes.set_xticks(np.arange(len(languages)), languages)
    axes.set_xlim(-0.6, len(languages) - 0.2)


def _intervals(axes: Axes, *, rows: Sequence[Row]) -> None:
    languages = distinct(rows, "language")
    start(axes, "RankC with English", size=10.5)
    for shift, is_dense, colour, _ in _SIDES:
        for row in (row for row in rows if bool(row["is_dense"]) == is_dense):
            x, value = languages.index(row["language"]) + shift, row["rank_consistency"]
            interval_line(axes, x, value, (row["ci_low"], row["ci_high"]), colour=colour, markersize=4)
            side = "right" if shift < 0 else "left"
            place = x + (-0.06 if shift < 0 else 0.06)
            axes.text(place, value, f"{value:.2f}", ha=side, va="center", fontsize=7.5, color=INK)
    for position, language in enumerate(languages):
        for chance in {row["chance"] for row in rows if row["language"] == language and row["chance"] is not None}:
            axes.hlines(chance, position - 0.45, position + 0.45, color=VERMILLION, linestyle="--", linewidth=1.1)
    shown = [row[key] for row in rows for key in ("rank_consistency", "ci_low", "ci_high", "chance")]
    low, high = (end(value for value in shown if value is not None) for end in (min, max))
    margin = 0.08 * (high - low) or 0.05
    axes.set_xticks(np.arange(len(languages)), languages)
    axes.set_xlim(-0.6, len(languages) - 0.3)
    axes.set_ylim(low - margin, high + margin)


def consistency_matrices(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw one matrix of languages for the dense model, and the differences from it for each variant that was chosen.

    Each pair of languages has one cell.

    Args:
        rows: result of `rank_matrices.sql`.
    """
    for _, members in grouped(rows, *_TASK):
        values = [row["rank_consistency"] for row in members if not row["chosen_for"]]
        scale = Scale(min(values, default=0.0), max(values, default=1.0))
        largest = max(0.01, *(abs(row["difference"]) for row in members if row["difference"] is not None), 0.0)
        change = Scale(-largest, largest, is_diverging=True)
        dense = [cells for _, cells in grouped(members, "variant_id") if not cells[0]["chosen_for"]]
        chosen = [cells for _, cells in grouped(members, "variant_id") if cells[0]["chosen_for"]]
        yield Group(
            title=task_label(members[0]),
            panels=(
                *(_matrix(cells, scale=scale, column="rank_consistency") for cells in dense),
                *(_matrix(cells, scale=change, column="difference") for cells in chosen),
            ),
            rows=members,
            legend=(
                LegendEntry(label=f"{number(scale.low)}|{number(scale.high)}: dense model", scale=scale),
                LegendEntry(label=f"{number(-largest)}|{number(largest)}: change from dense", scale=change),
            ),
            facets=facets_of(members[0], only=("model", "task")),
        )


def _matrix(rows: Sequence[Row], *, scale: Scale, column: str) -> Grid:
    first = rows[0]
    chosen_for = first["chosen_for"]
    title = f"chosen for {chosen_for}: {first['label']}, minus dense" if chosen_for else "dense model"
    values = [row[column] for row in rows if row[column] is not None]
    mean = number(sum(values) / len(values)) if values else "unknown"
    return half_matrix(
        rows,
        column,
        other="reference_language",
        title=title,
        label=f"RankC between languages, {title}: mean {mean}",
        scale=scale,
        row_name="language",
        column_name="reference",
        facets=facets_of(first, only=("score", "pair")),
    )
