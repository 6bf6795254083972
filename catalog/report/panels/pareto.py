"""Change in English and in the mean of the other languages: one point per variant, with the Pareto front of dev."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes

from catalog.report.drawing.exhibits import (
    Group,
    LegendEntry,
    Panel,
    Size,
    evenly_spaced,
    grouped,
    has_several_rules,
    omission_note,
)
from catalog.report.drawing.svg import INK, QUIET
from catalog.report.filters import facets_of, to_id
from catalog.report.labels import number, task_label
from catalog.report.style import BLACK, SeriesStyle, distinct_styles, series_style
from catalog.results import Row

_TASK = ("task", "split", "scoring_rule", "example_limit")
_EVALUATED = (*_TASK, "languages")
_KEY = ("score", "intervention", "set_kind")
"""Columns that the points of one legend entry share."""
MAX_POINTS, MAX_FRONT = 1_000, 50
"""Maximum number of points, and of those on the front, in a panel, chosen at even distances."""
_DENSE = SeriesStyle(BLACK, "*")
Styles = Mapping[tuple[Any, ...], SeriesStyle]
"""Values of `_KEY` -> style."""
Point = tuple[float, float]
"""Difference to the dense model in English and in the mean of the other languages."""


def pareto_plots(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw one figure per pruned model and task, with one panel per set of languages. Dense models are stars.

    The front is that of dev, its points are those of test.

    Args:
        rows: result of `pareto.sql`.
    """
    evaluated = dict(grouped(rows, *_EVALUATED))
    groups = []
    for (_, *task), members in grouped((row for row in rows if not row["is_dense"]), "base_model_id", *_TASK):
        dense = {
            languages: [row for row in evaluated[(*task, languages)] if row["is_dense"]]
            for (languages,), _ in grouped(members, "languages")
        }
        styles = _styles(members)
        panels = tuple(
            _plot(points, dense=dense[languages], styles=styles)
            for (languages,), points in grouped(members, "languages")
        )
        drawn = [*(row for rows_of in dense.values() for row in rows_of), *members]
        title = task_label(members[0], with_rule=has_several_rules(rows, members[0]))
        facets = facets_of(members[0], only=("model", "task"))
        groups.append(Group(title=title, panels=panels, rows=drawn, legend=_legend(members, styles), facets=facets))
    return tuple(groups)


def _plot(rows: Sequence[Row], *, dense: Sequence[Row], styles: Styles) -> Panel:
    label = f"Change in English and in the mean of {rows[0]['n_others']} other languages, {len(rows)} variants; "
    label += _front_text([*dense, *rows])
    label += "".join(f"; {row['base_model']} dense: {_values(row)}" for row in dense)
    drawn = _drawn(rows)
    others = [language for language in str(rows[0]["languages"]).split() if language != "en"]
    title = f"others: {' '.join(others)}{omission_note(len(drawn), len(rows), 'variants')}"
    draw = partial(_draw, rows=drawn, dense=dense, title=title, styles=styles)
    return Panel(label=label, size=Size(5.6, 4.2, left=0.7, bottom=0.5), draw=draw)


def _drawn(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of at most `MAX_POINTS` variants, `MAX_FRONT` of them on the front, in the same order."""
    front = evenly_spaced([index for index, row in enumerate(rows) if row["is_efficient"]], MAX_FRONT)
    beaten = [index for index, row in enumerate(rows) if not row["is_efficient"]]
    return [rows[index] for index in sorted([*front, *evenly_spaced(beaten, MAX_POINTS - len(front))])]


def _front_text(rows: Sequence[Row]) -> str:
    """Return the front of dev as text, or that there is none."""
    if all(row["is_efficient"] is None for row in rows):
        return "no front, because nothing was evaluated on dev"
    names = [f"{row['label']} ({row['probability']:.0%})" for row in rows if row["is_efficient"]]
    more = f" and {len(names) - MAX_FRONT} more" if len(names) > MAX_FRONT else ""
    return "on the front of dev, with the share of resamples: " + ", ".join(names[:MAX_FRONT]) + more


def _values(row: Row) -> str:
    return f"{number(row['english_value'])} and {number(row['others_value'])}"


def _draw(axes: Axes, *, rows: Sequence[Row], dense: Sequence[Row], title: str, styles: Styles) -> None:
    axes.set_title(title, color=INK, weight="bold", fontsize=9)
    axes.grid(visible=True)
    axes.set_xlabel("change of accuracy in English")
    axes.set_ylabel("change of mean accuracy in the other languages")
    axes.axvline(0, color=BLACK, linewidth=0.8, linestyle=":", zorder=1)
    axes.axhline(0, color=BLACK, linewidth=0.8, linestyle=":", zorder=1)
    own = [row for row in dense if row["base_model_id"] == rows[0]["base_model_id"]]
    for (*method, _), points in grouped(rows, *_KEY, "demonstration_label"):
        key = list(styles).index(tuple(method))
        _draw_points(axes, points, styles[tuple(method)], dense=own, key=key)
    for row in dense:
        at = _point(row, own)
        axes.plot(*at, "*", color=BLACK if row in own else QUIET, markersize=12, zorder=4)
        if row not in own:
            axes.text(*at, f"  {row['base_model']}", fontsize=7.5, color=QUIET, va="center")
        elif row["is_efficient"]:
            axes.annotate(_probability(row), at, (6, -9), textcoords="offset points", fontsize=7.5, color=INK)


def _styles(rows: Sequence[Row]) -> Styles:
    """Return the style of each method; no mark is equal to another one or to that of the dense model."""
    styles = {method: series_style(method[0], method[2]) for method, _ in grouped(rows, *_KEY)}
    return distinct_styles(styles, taken=[_DENSE])


def _draw_points(axes: Axes, rows: Sequence[Row], style: SeriesStyle, *, dense: Sequence[Row], key: int) -> None:
    """Draw the variants of one score and pair: those on the front of dev with intervals, the others pale."""
    first = rows[0]
    options = style.marker_options | ({"markerfacecolor": "none"} if style.is_hollow else {})
    gid = to_id({**facets_of(first, only=("score", "pair")), "key": str(key)})
    beaten = [_point(row, dense) for row in rows if not row["is_efficient"]]
    places = [[point[side] for point in beaten] for side in (0, 1)]
    axes.plot(*places, linestyle="", **options, markersize=4, alpha=0.45, zorder=2, gid=gid)
    for row in (row for row in rows if row["is_efficient"]):
        at = _point(row, dense)
        for xs, ys in _intervals(row, at):
            axes.plot(xs, ys, color=style.colour, linewidth=1.0, zorder=3, gid=gid)
        axes.plot(*at, linestyle="", **options, markersize=7, zorder=4, gid=gid)
        text = f"{row['sparsity']:g}, {_probability(row)}"
        axes.annotate(text, at, (6, 5), textcoords="offset points", fontsize=7.5, color=INK, gid=gid)


def _point(row: Row, dense: Sequence[Row]) -> Point:
    """Return the differences to dense: those of the comparison, or else of the values."""
    if row["english_difference"] is not None and row["others_difference"] is not None and not row["is_dense"]:
        return row["english_difference"], row["others_difference"]
    base = dense[0] if dense else row
    return row["english_value"] - base["english_value"], row["others_value"] - base["others_value"]


def _intervals(row: Row, at: Point) -> Iterator[tuple[list[float], list[float]]]:
    """Yield the ends of the intervals that exist, as coordinates."""
    if row["english_ci_low"] is not None and row["english_ci_high"] is not None:
        yield [row["english_ci_low"], row["english_ci_high"]], [at[1], at[1]]
    if row["others_ci_low"] is not None and row["others_ci_high"] is not None:
        yield [at[0], at[0]], [row["others_ci_low"], row["others_ci_high"]]


def _probability(row: Row) -> str:
    return f"{row['probability']:.0%}"


def _legend(rows: Sequence[Row], styles: Styles) -> tuple[LegendEntry, ...]:
    entries = [LegendEntry.of_series("dense model", _DENSE, line=False)]
    for index, (method, members) in enumerate(grouped(rows, *_KEY)):
        score, intervention, set_kind = method
        label = " on ".join(str(word) for word in (intervention or score, set_kind) if word)
        facets = {**facets_of(members[0], only=("score",)), "key": str(index)}
        entries.append(LegendEntry.of_series(label.replace("_", " "), styles[method], line=False, facets=facets))
    return (*entries, LegendEntry(label="large, with lines: on the front of dev (sparsity, probability)", colour=QUIET))
