"""Figure of block influence: how much each block changes the states, by language."""

from collections.abc import Iterator, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from catalog.report import exhibits
from catalog.report.labels import facets_of, number
from catalog.report.panels.layers import STYLES
from catalog.report.svg import interval_line, start
from catalog.results import Row


def influence_panels(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Draw one panel per model, with a line per set of one language and its intervals.

    Args:
        rows: result of `influence_by_language.sql`.
    """
    for (model, _), members in exhibits.grouped(rows, "base_model", "base_model_id"):
        sets = [cells for _, cells in exhibits.grouped(members, "block_influence_id")]
        shown = exhibits.evenly_spaced(sets, len(STYLES))
        yield exhibits.Group(
            title=str(model) + exhibits.omission_note(len(shown), len(sets), "sets"),
            panels=(_panel(shown),),
            rows=members,
            legend=tuple(
                exhibits.LegendEntry.of_series(f"{cells[0]['language'] or cells[0]['kind']}", STYLES[index])
                for index, cells in enumerate(shown)
            ),
            facets=facets_of(members[0], only=("model",)),
        )


def _panel(sets: Sequence[Sequence[Row]]) -> exhibits.Panel:
    texts = []
    for cells in sets:
        top = max(cells, key=lambda row: row["influence"])
        texts.append(f"{top['language']} most in block {top['block']}, {number(top['influence'])}")
    width = max(3.6, 0.9 + 0.22 * max(map(len, sets)))
    label = f"Block influence by language: {', '.join(texts)}"
    return exhibits.Panel(label=label, size=exhibits.Size(width, 2.8), draw=partial(_draw, sets=sets))


def _draw(axes: Axes, *, sets: Sequence[Sequence[Row]]) -> None:
    start(axes, "1 − cosine before and after the block")
    axes.set_xlabel("block")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for index, cells in enumerate(sets):
        style, shift = STYLES[index], 0.06 * (index - (len(sets) - 1) / 2)
        xs = [row["block"] + shift for row in cells]
        for x, row in zip(xs, cells, strict=True):
            interval_line(axes, x, None, (row["ci_low"], row["ci_high"]), colour=style.colour, width=1.0)
        values = [row["influence"] for row in cells]
        axes.plot(xs, values, color=style.colour, **style.marker_options, markersize=4, linewidth=1.2)
