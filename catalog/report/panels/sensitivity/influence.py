"""Block influence by language: how much each block of the dense model turns the hidden states."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from catalog.report.drawing.exhibits import Group, LegendEntry, Panel, Size, evenly_spaced, grouped, omission_note
from catalog.report.drawing.svg import INK
from catalog.report.filters import facets_of
from catalog.report.labels import number
from catalog.report.panels.schedules import STYLES
from catalog.results import Row


def influence_panels(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw one panel per model, with a line per set of one language and its intervals.

    Args:
        rows: result of `influence_by_language.sql`.
    """
    groups = []
    for (model, _), members in grouped(rows, "base_model", "base_model_id"):
        sets = [cells for _, cells in grouped(members, "block_influence_id")]
        shown = evenly_spaced(sets, len(STYLES))
        groups.append(
            Group(
                title=str(model) + omission_note(len(shown), len(sets), "sets"),
                panels=(_panel(shown),),
                rows=members,
                legend=tuple(
                    LegendEntry.of_series(f"{cells[0]['language'] or cells[0]['kind']}", STYLES[index])
                    for index, cells in enumerate(shown)
                ),
                facets=facets_of(members[0], only=("model",)),
            )
        )
    return tuple(groups)


def _panel(sets: Sequence[Sequence[Row]]) -> Panel:
    texts = []
    for cells in sets:
        top = max(cells, key=lambda row: row["influence"])
        texts.append(f"{top['language']} most in block {top['block']}, {number(top['influence'])}")
    width = max(3.6, 0.9 + 0.22 * max(map(len, sets)))
    label = f"Block influence by language: {', '.join(texts)}"
    return Panel(label=label, size=Size(width, 2.8), draw=partial(_draw, sets=sets))


def _draw(axes: Axes, *, sets: Sequence[Sequence[Row]]) -> None:
    axes.set_title("1 − cosine before and after the block", color=INK, weight="bold", fontsize=9)
    axes.grid(axis="y")
    axes.set_xlabel("block")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for index, cells in enumerate(sets):
        style, shift = STYLES[index], 0.06 * (index - (len(sets) - 1) / 2)
        xs = [row["block"] + shift for row in cells]
        for x, row in zip(xs, cells, strict=True):
            if row["ci_low"] is not None:
                axes.vlines(x, row["ci_low"], row["ci_high"], color=style.colour, linewidth=1.0)
        values = [row["influence"] for row in cells]
        axes.plot(xs, values, color=style.colour, **style.marker_options, markersize=4, linewidth=1.2)
