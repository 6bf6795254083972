"""Removed weights by block for variants with an uneven schedule, and the values of blocks that schedules read."""

from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from catalog.report.drawing.exhibits import Group, LegendEntry, Panel, Size, evenly_spaced, grouped, omission_note
from catalog.report.drawing.svg import INK
from catalog.report.filters import facets_of
from catalog.report.labels import number
from catalog.report.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, SeriesStyle
from catalog.results import Row

MAX_VARIANTS = 9
"""Maximum number of lines in a figure; their variants are chosen at even distances."""
_SIZE = Size(3.9, 2.6)
STYLES = (
    SeriesStyle(BLUE, "o"),
    SeriesStyle(VERMILLION, "s"),
    SeriesStyle(GREEN, "^"),
    SeriesStyle(PURPLE, "D"),
    SeriesStyle(ORANGE, "v"),
    SeriesStyle(SKY, "P"),
    SeriesStyle(BLACK, "X"),
    SeriesStyle("#882255", "o", is_hollow=True),
    SeriesStyle("#999933", "s", is_hollow=True),
)


def schedule_panels(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw for each model the removed fraction by block, and the values of blocks that schedules read, if any.

    Args:
        rows: result of `layer_schedule.sql`, without uniform schedules.
    """
    groups = []
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        variants = [variant_rows for _, variant_rows in grouped(members, "variant_id")]
        shown = evenly_spaced(variants, MAX_VARIANTS)
        ratios = dict(grouped((row for row in members if row["outliers_id"]), "outliers_id", "outlier_m"))
        values = grouped((row for row in members if row["block_values_id"]), "block_value_name")
        legend = [
            LegendEntry.of_series(str(variant_rows[0]["label"]), STYLES[index], dashed=_is_dashed(variant_rows))
            for index, variant_rows in enumerate(shown)
        ]
        groups.append(
            Group(
                title=str(model) + omission_note(len(shown), len(variants), "variants"),
                panels=(
                    _removed_panel(shown),
                    *([_ratio_panel(ratios)] if ratios else []),
                    *(_value_panel(str(name), rows) for (name,), rows in values),
                ),
                rows=members,
                legend=tuple(legend),
                facets=facets_of(members[0], only=("model",)),
            )
        )
    return tuple(groups)


def _is_dashed(rows: Sequence[Row]) -> bool:
    """Whether the line is dashed: for dense propagation, as in the curves."""
    return bool(rows[0]["propagation"] == "dense")


def _removed_panel(variants: Sequence[Sequence[Row]]) -> Panel:
    shares = [row["removed_share"] for rows in variants for row in rows]
    span = f"from {number(min(shares))} to {number(max(shares))} of a block, {len(variants)} variants"
    return Panel(label=f"Removed weights by block: {span}", size=_SIZE, draw=partial(_draw_removed, variants=variants))


def _draw_removed(axes: Axes, *, variants: Sequence[Sequence[Row]]) -> None:
    for index, rows in enumerate(variants):
        by_block = {row["block"]: row["removed_share"] for row in rows}
        axes.plot(
            list(by_block),
            list(by_block.values()),
            color=STYLES[index].colour,
            linestyle="--" if _is_dashed(rows) else "-",
            **STYLES[index].marker_options,
            markersize=4.5,
            linewidth=1.4,
        )
    largest = max(row["removed_share"] for rows in variants for row in rows)
    _finish(axes, title="removed fraction of a block's weights", largest=largest)


def _ratio_panel(ratios: Mapping[tuple[str, float], Sequence[Row]]) -> Panel:
    bounds = ", ".join(sorted({f"{m:g}" for _, m in ratios}))
    return _line_panel(
        f"Scores above {bounds} times the block's mean, by block",
        [_by_block(rows, "outlier_ratio") for rows in ratios.values()],
        title="fraction of scores that are outliers",
    )


def _value_panel(name: str, rows: Sequence[Row]) -> Panel:
    title = f"{name.replace('_', ' ')} of a block"
    lines = [_by_block(of_record, "block_value") for _, of_record in grouped(rows, "block_values_id")]
    return _line_panel(f"{title[0].upper()}{title[1:]}", lines, title=title)


def _by_block(rows: Sequence[Row], column: str) -> dict[int, float]:
    return {row["block"]: row[column] for row in rows}


def _line_panel(label: str, lines: Sequence[Mapping[int, float]], *, title: str) -> Panel:
    values = [value for by_block in lines for value in by_block.values()]
    span = f"from {number(min(values), digits=4)} to {number(max(values), digits=4)}"
    draw = partial(_draw_lines, lines=lines, title=title, largest=max(values))
    return Panel(label=f"{label}: {span}", size=_SIZE, draw=draw)


def _draw_lines(axes: Axes, *, lines: Sequence[Mapping[int, float]], title: str, largest: float) -> None:
    for by_block in lines:
        axes.plot(list(by_block), list(by_block.values()), color=GREY, marker="s", markersize=4, linewidth=1.2)
    _finish(axes, title=title, largest=largest)


def _finish(axes: Axes, *, title: str, largest: float) -> None:
    axes.set_title(title, color=INK, weight="bold", fontsize=9)
    axes.grid(axis="y")
    axes.set_ylim(0, largest * 1.08 or 1.0)
    axes.set_xlabel("block")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
