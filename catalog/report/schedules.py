"""How much is removed in each block, where the sparsity is not the same everywhere, and the outlier ratios of owl."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from catalog.report.exhibits import Group, Key, grouped, left_out, spread
from catalog.report.svg import INK, drawing, panel, to_svg
from catalog.report.words import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Row,
    number,
    variant_label,
)

MOST_VARIANTS = 9
"""Lines in a figure; of more variants as many are drawn, evenly spread over their order."""
_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, "#882255", "#999933")


def schedule_panels(rows: Sequence[Row], anchor: str) -> tuple[Group, ...]:
    """For each model, the removed fraction by block, and the outlier ratios by block where there are such.

    Args:
        rows: of `layer_schedule.sql`, without uniform schedules.
        anchor: prefix of the ids in the SVG.
    """
    groups = []
    for n, ((model, _), members) in enumerate(grouped(rows, "base_model", "base_model_id")):
        variants = [of_variant for _, of_variant in grouped(members, "variant_id")]
        shown = spread(variants, MOST_VARIANTS)
        ratios = grouped((row for row in members if row["outliers_id"]), "outliers_id", "outlier_m")
        with drawing():
            panels = [_removed_panel(shown, anchor=f"{anchor}-{n}-0")]
            if ratios:
                panels.append(_ratio_panel(dict(ratios), anchor=f"{anchor}-{n}-1"))
        keys = [
            Key(label=variant_label(of_variant[0]), colour=_COLOURS[place], marker="o", dashed=_is_dashed(of_variant))
            for place, of_variant in enumerate(shown)
        ]
        title = str(model) + left_out(len(shown), len(variants), "variants")
        groups.append(Group(title=title, panels=tuple(panels), keys=tuple(keys)))
    return tuple(groups)


def _is_dashed(rows: Sequence[Row]) -> bool:
    """Dashed lines are dense propagation, as in the curves."""
    return bool(rows[0]["propagation"] == "dense")


def _removed_panel(variants: Sequence[Sequence[Row]], *, anchor: str) -> str:
    axes = _axes("removed fraction of a block's weights")
    for place, rows in enumerate(variants):
        by_block = {row["block"]: row["removed_share"] for row in rows}
        axes.plot(
            list(by_block),
            list(by_block.values()),
            color=_COLOURS[place],
            linestyle="--" if _is_dashed(rows) else "-",
            marker="o",
            markersize=4,
            linewidth=1.4,
        )
    shares = [row["removed_share"] for rows in variants for row in rows]
    axes.set_ylim(0, max(shares) * 1.08 or 1.0)
    said = f"from {number(min(shares))} to {number(max(shares))} of a block, {len(variants)} variants"
    return to_svg(axes, anchor, label=f"Removed weights by block: {said}")


def _ratio_panel(ratios: Mapping[tuple[str, float], Sequence[Row]], *, anchor: str) -> str:
    axes = _axes("fraction of scores that are outliers")
    for rows in ratios.values():
        by_block = {row["block"]: row["outlier_ratio"] for row in rows}
        axes.plot(list(by_block), list(by_block.values()), color=GREY, marker="s", markersize=4, linewidth=1.2)
    values = [row["outlier_ratio"] for rows in ratios.values() for row in rows]
    axes.set_ylim(0, max(values) * 1.08 or 1.0)
    bounds = ", ".join(sorted({f"{m:g}" for _, m in ratios}))
    said = f"from {number(min(values), digits=4)} to {number(max(values), digits=4)}"
    return to_svg(axes, anchor, label=f"Scores above {bounds} times the block's mean, by block: {said}")


def _axes(title: str) -> Axes:
    axes = panel(3.9, 2.6, left=0.5)
    axes.set_title(title, color=INK, weight="bold", fontsize=9)
    axes.grid(axis="y")
    axes.set_xlabel("block")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return axes
