"""Largest features by depth: one panel per demonstration set, with lines for recurring features."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from catalog.report.drawing.exhibits import Group, LegendEntry, Panel, Size, evenly_spaced, grouped, omission_note
from catalog.report.drawing.svg import INK
from catalog.report.filters import facets_of
from catalog.report.labels import set_label
from catalog.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from catalog.results import Row

_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE)
_MARKERS = ("o", "s", "^", "D", "X")
MAX_SETS = 24
"""Maximum number of panels; their sets are chosen at even distances."""
_MAX_LINEAR_RATIO = 30.0
"""Ratio of the largest to the smallest magnitude above which the scale is logarithmic."""
_MANY_DECADES = 2000.0
"""Ratio up to which a logarithmic scale has ticks at 1, 2 and 5 times each power of ten."""
_SET = ("demonstration_set_id", "kind", "source_language", "target_language", "seed", "profile")


def magnitude_panels(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw the panels of every model.

    Args:
        rows: result of `largest_features.sql`.
    """
    groups = []
    for _, members in grouped(rows, "base_model", "base_model_id"):
        recurring = _recurring(members)
        magnitudes = [row["magnitude"] for row in members]
        scale = min(magnitudes), max(magnitudes)
        sets = [set_rows for _, set_rows in grouped(members, *_SET)]
        shown = evenly_spaced(sets, MAX_SETS)
        legend = [
            LegendEntry(label=f"feature {feature}", colour=_COLOURS[index], marker=_MARKERS[index])
            for feature, index in recurring.items()
        ]
        legend.append(LegendEntry(label="another large feature", colour=GREY, marker="dot", line=False))
        groups.append(
            Group(
                title=str(members[0]["base_model"]) + omission_note(len(shown), len(sets), "sets"),
                panels=tuple(_set_panel(set_rows, recurring=recurring, scale=scale) for set_rows in shown),
                rows=members,
                legend=tuple(legend),
                facets=facets_of(members[0], only=("model",)),
            )
        )
    return tuple(groups)


def _recurring(rows: Sequence[Row]) -> Mapping[int, int]:
    """Return the features that are large most often, over all depths and sets, with their index in the palette."""
    counts = Counter(row["feature"] for row in rows)
    features = sorted(counts, key=lambda feature: (-counts[feature], feature))[: len(_COLOURS)]
    return {feature: index for index, feature in enumerate(features)}


def _set_panel(rows: Sequence[Row], *, recurring: Mapping[int, int], scale: tuple[float, float]) -> Panel:
    first = rows[0]
    words = (first["kind"], first["source_language"], first["target_language"])
    name = set_label(*words, seed=first["seed"], profile=first["profile"])
    largest = max(rows, key=lambda row: row["magnitude"])
    position = f"feature {largest['feature']} at depth {largest['depth']}, magnitude {largest['magnitude']:.3g}"
    return Panel(
        label=f"Largest features on {name} ({first['kind']}); largest of all: {position}",
        size=Size(3.3, 2.5, left=0.62),
        draw=partial(_draw_set, rows=rows, title=f"{name} · {first['kind']}", recurring=recurring, scale=scale),
        facets=facets_of(first, only=("pair",)),
    )


def _draw_set(
    axes: Axes, *, rows: Sequence[Row], title: str, recurring: Mapping[int, int], scale: tuple[float, float]
) -> None:
    axes.set_title(title, color=INK, weight="bold")
    axes.grid(axis="y")
    other_rows = [row for row in rows if row["feature"] not in recurring]
    axes.plot(
        [row["depth"] for row in other_rows], [row["magnitude"] for row in other_rows], ".", color=GREY, markersize=3
    )
    depths = sorted({row["depth"] for row in rows})
    for feature, index in recurring.items():
        large = {row["depth"]: row["magnitude"] for row in rows if row["feature"] == feature}
        axes.plot(
            depths,
            [large.get(depth, math.nan) for depth in depths],
            color=_COLOURS[index],
            marker=_MARKERS[index],
            linewidth=1.0,
            markersize=4,
            zorder=3,
        )
    _set_scale(axes, *scale)
    axes.set_xlabel("depth (0: embeddings, n: after block n - 1)")
    axes.set_ylabel("magnitude")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _set_scale(axes: Axes, smallest: float, largest: float) -> None:
    """Set the scale that all panels share; it is logarithmic if the range is too large for a linear one."""
    if smallest > 0 and largest / smallest > _MAX_LINEAR_RATIO:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if largest / smallest < _MANY_DECADES else (1,)))
        axes.yaxis.set_major_formatter(lambda magnitude, _: f"{magnitude:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylim(smallest / 1.3, largest * 1.3)
    else:
        axes.set_ylim(0, largest * 1.06 or 1.0)
