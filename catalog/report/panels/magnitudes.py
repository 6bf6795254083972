"""The largest features after every block: one panel a demonstration set, recurring features joined by lines."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from catalog.report.drawing.exhibits import Group, LegendEntry, Panel, Size, grouped, left_out, spread
from catalog.report.drawing.svg import INK
from catalog.report.filters import facets_of
from catalog.report.labels import set_label
from catalog.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from catalog.results import Row

_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE)
_MARKERS = ("o", "s", "^", "D", "X")
MOST_SETS = 24
"""Panels drawn; of more sets as many are drawn, evenly spread over their order."""
_TOO_FAR = 30.0
"""Ratio of the largest to the smallest magnitude from which on the scale is logarithmic."""
_SET = ("demonstration_set_id", "kind", "source_language", "target_language", "seed", "profile")


def magnitude_panels(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Panels of every model.

    Args:
        rows: of `largest_features.sql`.
    """
    groups = []
    for _, members in grouped(rows, "base_model", "base_model_id"):
        recurring = _recurring(members)
        magnitudes = [row["magnitude"] for row in members]
        scale = min(magnitudes), max(magnitudes)
        sets = [of_set for _, of_set in grouped(members, *_SET)]
        shown = spread(sets, MOST_SETS)
        keys = [
            LegendEntry(label=f"feature {feature}", colour=_COLOURS[place], marker=_MARKERS[place])
            for feature, place in recurring.items()
        ]
        keys.append(LegendEntry(label="another large feature", colour=GREY, marker="dot", line=False))
        groups.append(
            Group(
                title=str(members[0]["base_model"]) + left_out(len(shown), len(sets), "sets"),
                panels=tuple(_set_panel(of_set, recurring=recurring, scale=scale) for of_set in shown),
                rows=members,
                legend=tuple(keys),
                facets=facets_of(members[0], only=("model",)),
            )
        )
    return tuple(groups)


def _recurring(rows: Sequence[Row]) -> Mapping[int, int]:
    """The features that are large after most blocks of most sets, to their place in the palette."""
    counts = Counter(row["feature"] for row in rows)
    features = sorted(counts, key=lambda feature: (-counts[feature], feature))[: len(_COLOURS)]
    return {feature: place for place, feature in enumerate(features)}


def _set_panel(rows: Sequence[Row], *, recurring: Mapping[int, int], scale: tuple[float, float]) -> Panel:
    first = rows[0]
    words = (first["kind"], first["source_language"], first["target_language"])
    name = set_label(*words, seed=first["seed"], profile=first["profile"])
    largest = max(rows, key=lambda row: row["magnitude"])
    said = f"feature {largest['feature']} at depth {largest['depth']}, magnitude {largest['magnitude']:.3g}"
    return Panel(
        label=f"Largest features on {name} ({first['kind']}); largest of all: {said}",
        size=Size(3.3, 2.5, left=0.62),
        draw=partial(_draw_set, rows=rows, title=f"{name} · {first['kind']}", recurring=recurring, scale=scale),
        facets=facets_of(first, only=("pair",)),
    )


def _draw_set(
    axes: Axes, *, rows: Sequence[Row], title: str, recurring: Mapping[int, int], scale: tuple[float, float]
) -> None:
    axes.set_title(title, color=INK, weight="bold")
    axes.grid(axis="y")
    others = [row for row in rows if row["feature"] not in recurring]
    axes.plot([row["depth"] for row in others], [row["magnitude"] for row in others], ".", color=GREY, markersize=3)
    depths = sorted({row["depth"] for row in rows})
    for feature, place in recurring.items():
        large = {row["depth"]: row["magnitude"] for row in rows if row["feature"] == feature}
        axes.plot(
            depths,
            [large.get(depth, math.nan) for depth in depths],
            color=_COLOURS[place],
            marker=_MARKERS[place],
            linewidth=1.0,
            markersize=4,
            zorder=3,
        )
    _set_scale(axes, *scale)
    axes.set_xlabel("depth (0: embeddings, n: after block n - 1)")
    axes.set_ylabel("magnitude")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _set_scale(axes: Axes, smallest: float, largest: float) -> None:
    """The same scale in every panel; logarithmic where the few largest would press all others to the ground."""
    if smallest > 0 and largest / smallest > _TOO_FAR:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda magnitude, _: f"{magnitude:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylim(smallest / 1.3, largest * 1.3)
    else:
        axes.set_ylim(0, largest * 1.06 or 1.0)
