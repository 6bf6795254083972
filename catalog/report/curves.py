"""Accuracy against sparsity: one panel a language, one line a method, the dense model as a level with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from catalog.report.exhibits import Group, Key, distinct, english_first, grouped
from catalog.report.svg import GRID, INK, drawing, panel, to_svg
from catalog.report.words import FURTHER_COLOURS, MARKERS, Row, colour_of, method_label, task_label

_LINE = ("score", "set_kind", "propagation", "structure", "settings")
Colours = Mapping[tuple[Any, ...], str]
"""Line of a figure (the values of `_LINE`) to its colour."""


def accuracy_curves(rows: Sequence[Row], anchor: str) -> tuple[Group, ...]:
    """The curves of every model and task.

    Args:
        rows: of `accuracy_by_sparsity.sql`.
        anchor: prefix of the ids in the SVG.
    """
    columns = ("base_model", "base_model_id", "task", "split", "scoring_rule", "example_limit")
    with_rule = len(distinct(rows, "scoring_rule")) > 1
    groups = []
    for n, (_, members) in enumerate(grouped(rows, *columns)):
        limits, colours = _limits(members), _colours(members)
        of_language = dict(grouped(members, "language"))
        with drawing():
            panels = tuple(
                _language_panel(
                    language, of_language[language,], limits=limits, colours=colours, anchor=f"{anchor}-{n}-{place}"
                )
                for place, language in enumerate(english_first(row["language"] for row in members))
            )
        groups.append(
            Group(title=task_label(members[0], with_rule=with_rule), panels=panels, keys=_keys(members, colours))
        )
    return tuple(groups)


def _limits(rows: Sequence[Row]) -> tuple[float, float, float]:
    """Lowest and highest accuracy and the largest sparsity of all panels, so that panels can be compared by eye."""
    lows = [row["accuracy"] if row["ci_low"] is None else row["ci_low"] for row in rows]
    highs = [row["accuracy"] if row["ci_high"] is None else row["ci_high"] for row in rows]
    return max(0.0, min(lows) - 0.03), min(1.0, max(highs) + 0.03), max(row["sparsity"] for row in rows)


def _colours(rows: Sequence[Row]) -> Colours:
    """The colour of each line of a figure: by score and demonstrations, and one more for each line with settings."""
    with_settings = [line for line, _ in grouped((row for row in rows if row["settings"]), *_LINE)]
    plain = {line: colour_of(line[0], line[1]) for line, _ in grouped(rows, *_LINE)}
    return plain | {line: FURTHER_COLOURS[place % len(FURTHER_COLOURS)] for place, line in enumerate(with_settings)}


def _language_panel(
    language: str, rows: Sequence[Row], *, limits: tuple[float, float, float], colours: Colours, anchor: str
) -> str:
    low, high, largest = limits
    axes = panel(3.2, 2.6, left=0.46)
    axes.set_title(language, color=INK, weight="bold")
    axes.grid(axis="y")
    axes.set_ylim(low, high)
    axes.set_xlim(-0.02 * max(largest, 0.1), max(largest, 0.1) * 1.04)
    axes.set_xlabel("sparsity")
    dense = [row for row in rows if row["score"] is None]
    for row in dense:
        _draw_dense(axes, row)
    lines = grouped((row for row in rows if row["score"] is not None), *_LINE)
    for line, points in lines:
        _draw_line(axes, points, colours[line])
    said = f"Accuracy in {language} against sparsity: {len(lines)} methods"
    return to_svg(axes, anchor, label=said + (f", dense {dense[0]['accuracy']:.3f}" if dense else ""))


def _draw_dense(axes: Axes, row: Row) -> None:
    if row["ci_low"] is not None and row["ci_high"] is not None:
        axes.axhspan(row["ci_low"], row["ci_high"], color=GRID, alpha=0.55, linewidth=0, zorder=0)
    axes.axhline(row["accuracy"], color=INK, linewidth=1.1, zorder=1)


def _draw_line(axes: Axes, points: Sequence[Row], colour: str) -> None:
    """A line through the method's own points; its value at sparsity 0 is the dense level."""
    first = points[0]
    sparsities = [row["sparsity"] for row in points]
    with_interval = [row for row in points if row["ci_low"] is not None and row["ci_high"] is not None]
    places = [row["sparsity"] for row in with_interval]
    lows, highs = ([row[end] for row in with_interval] for end in ("ci_low", "ci_high"))
    if len(places) > 1:
        axes.fill_between(places, lows, highs, color=colour, alpha=0.05, linewidth=0, zorder=2)
    elif places:
        axes.vlines(places, lows, highs, color=colour, linewidth=1.0, alpha=0.6, zorder=2)
    style = "--" if first["propagation"] == "dense" else "-"
    marker = MARKERS.get(first["set_kind"], "X")
    axes.plot(
        sparsities,
        [row["accuracy"] for row in points],
        color=colour,
        linestyle=style,
        linewidth=1.5,
        marker=marker,
        markersize=4.5,
        markeredgecolor="white",
        markeredgewidth=0.6,
        zorder=3,
    )


def _keys(rows: Sequence[Row], colours: Colours) -> tuple[Key, ...]:
    """The legend: the dense level first, then every method, as often as it differs from the others."""
    keys = []
    for line, members in grouped(rows, *_LINE):
        score, set_kind, propagation, *_ = line
        label = method_label(members[0])
        if score is None:
            keys.append(Key(label="dense model", colour=INK))
            continue
        marker = MARKERS.get(set_kind, "X")
        keys.append(Key(label=label, colour=colours[line], dashed=propagation == "dense", marker=marker))
    return tuple(keys)
