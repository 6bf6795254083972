"""Figures of searches: trials, their Pareto fronts, and the final values with a sentence."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from catalog.report.claims import change, group_text, p_text
from catalog.report.exhibits import Group, LegendEntry, Panel, Size, grouped
from catalog.report.labels import number
from catalog.report.marks import Dots, Lines, Look, Mark, first_lines, point, start
from catalog.report.styles import BLACK, BLUE, GREY, INK, ORANGE, QUIET, VERMILLION, SeriesStyle
from catalog.results import Row

_LEGEND = (
    LegendEntry("dense model", BLACK, marker="*", line=False),
    LegendEntry("winner", ORANGE, marker="D", line=False),
    LegendEntry("on the front of dev", BLUE, marker="o", line=True),
    LegendEntry("other trials", GREY, marker="o", line=False),
)
MAX_AXES = 40
"""Maximum number of axes that are drawn; of more, those that vary most."""
_TRIAL_LEGEND = (
    LegendEntry("winner, or best so far while the search runs", ORANGE, marker="*", line=False),
    LegendEntry("kept", BLUE, marker="o", line=False),
    LegendEntry("stopped", GREY, marker="o", line=False),
    LegendEntry("misses a constraint", VERMILLION, marker="X", line=False),
    LegendEntry("best of its rung so far", BLUE),
    LegendEntry("dense model on the same items", BLACK, dashed=True),
)
REMOVAL_METRICS = ("accuracy", "perplexity", "divergence", "chrf")
"""Metrics whose curves over removed units are drawn."""
_VERBS = {
    "yes": "is significantly better than",
    "not shown": "is not shown to differ from",
    "no": "is significantly worse than",
    "exploratory": "is compared, as an exploratory question, with",
}
"""Verdict -> beginning of a sentence about the winner."""


def front_panels(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw one panel per search, task and metric: a point per variant, on the items of its highest rung.

    Args:
        rows: result of `search_fronts.sql`.
    """
    return tuple(
        Group(
            title=f"{members[0]['base_model']} · {members[0]['name']}",
            panels=tuple(_panel(cells) for _, cells in grouped(members, "task", "metric")),
            rows=members,
            legend=_LEGEND,
        )
        for _, members in grouped(rows, "search_id")
    )


def _panel(rows: Sequence[Row]) -> Panel:
    highest = max(row["rung"] for row in rows)
    shown = [row for row in rows if row["rung"] == highest]
    n_front = sum(row["is_efficient"] for row in shown)
    dense = "".join(
        f"; dense {number(row['english_value'])} and {number(row['others_value'])}" for row in shown if row["is_dense"]
    )
    label = f"{rows[0]['metric']} in English and in {rows[0]['others']}, {rows[0]['task']}: {n_front} of {len(shown)} "
    return Panel(
        label=f"{label}variants are on the front of dev{dense}",
        size=Size(4.6, 3.6, left=0.7),
        draw=partial(_draw, rows=shown),
    )


def _draw(axes: Axes, *, rows: Sequence[Row]) -> None:
    first = rows[0]
    start(axes, f"{first['task']}, {first['split']}", grid="both")
    axes.set_xlabel(f"{first['metric']} in English")
    others = str(first["others"])
    axes.set_ylabel(f"mean of {others}" if " " in others else f"{first['metric']} in {others}")
    if first["metric"] == "perplexity":
        axes.invert_xaxis()
        axes.invert_yaxis()
    front = sorted((row for row in rows if row["is_efficient"]), key=_values)
    axes.plot(*zip(*map(_values, front), strict=True), color=BLUE, linewidth=1.0, zorder=2)
    for row in rows:
        colour = BLUE if row["is_efficient"] else GREY
        if not row["is_dense"]:
            axes.plot(*_values(row), "o", color=colour, markersize=4.5, alpha=0.85, zorder=3)
    for row in rows:
        if row["is_winner"]:
            axes.plot(*_values(row), "D", color=ORANGE, markersize=7, zorder=4)
        if row["is_dense"]:
            axes.plot(*_values(row), "*", color=BLACK, markersize=12, zorder=5)


def _values(row: Row) -> tuple[float, float]:
    return row["english_value"], row["others_value"]


def trial_panels(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw two panels per search: its trials against the items scored, and parallel coordinates of its space.

    Args:
        rows: result of `search_trials.sql`.
    """
    return tuple(
        Group(
            title=f"{members[0]['base_model']} · {members[0]['name']}",
            panels=(_progress_panel(members), *_space_panels(members)),
            rows=members,
            legend=_TRIAL_LEGEND,
            note=_note(members),
        )
        for _, members in grouped(rows, "search_id")
    )


def best_trial(rows: Sequence[Row]) -> Row | None:
    """Return the reported winner, or the best trial so far of the highest rung; None without either."""
    won = [row for row in rows if row["is_winner"]]
    highest = max(row["rung"] for row in rows)
    best = [row for row in rows if row["is_new_best"] and row["rung"] == highest]
    chosen = won or best[-1:]
    return chosen[0] if chosen else None


def _note(rows: Sequence[Row]) -> str:
    best, last = best_trial(rows), rows[-1]
    n_stopped = sum(row["status"] == "stopped" for row in rows)
    text = f"{len(rows)} trials, {n_stopped} of them stopped; {last['n_items_so_far']:,} items scored. "
    if best is None:
        return text
    kind = "The winner is" if best["is_winner"] else "The best so far is"
    return (
        f"{text}{kind} trial {best['number']}, {best['label'] or best['variant_id']}. Its value here chose it and is "
        "on average too good."
    )


def _progress_panel(rows: Sequence[Row]) -> Panel:
    best = best_trial(rows)
    value = "none" if best is None else f"{number(best['objective'])} at trial {best['number']}"
    label = f"Objective against items scored, {rows[0]['name']}: {len(rows)} trials, best {value}"
    return Panel(label=label, size=Size(5.6, 3.0, left=0.7), draw=partial(_draw_progress, rows=rows))


def _draw_progress(axes: Axes, *, rows: Sequence[Row]) -> None:
    start(axes, f"objective, {rows[0]['direction']}")
    axes.set_xlabel("items scored so far")
    for _, batch in grouped(rows, "batch"):
        ends = [batch[0]["n_items_so_far"] - batch[0]["n_items"], batch[-1]["n_items_so_far"]]
        axes.plot(ends, [batch[0]["dense_objective"]] * 2, color=BLACK, linestyle="--", linewidth=1.0, zorder=1)
    for (rung,), members in grouped(rows, "rung"):
        new = [row for row in members if row["is_new_best"] and row["objective"] is not None]
        xs = [row["n_items_so_far"] for row in new]
        ys = [row["objective"] for row in new]
        if new:
            axes.step([*xs, members[-1]["n_items_so_far"]], [*ys, ys[-1]], where="post", color=BLUE, linewidth=1.2)
            if len({row["rung"] for row in rows}) > 1:
                end = (members[-1]["n_items_so_far"], ys[-1])
                axes.annotate(f" rung {rung}", end, fontsize=7, color=QUIET, va="center")
    for colour, marker, members in _kinds(rows):
        drawn = [row for row in members if row["objective"] is not None]
        xs, ys = ([row[name] for row in drawn] for name in ("n_items_so_far", "objective"))
        axes.plot(xs, ys, linestyle="", marker=marker, color=colour, markersize=4, alpha=0.8, zorder=3)
    _limit(axes, rows)
    best = best_trial(rows)
    if best is not None and best["objective"] is not None:
        at, interval = (best["n_items_so_far"], best["objective"]), (best["ci_low"], best["ci_high"])
        point(axes, at, interval, SeriesStyle(ORANGE, "*"), look=Look(size=12), is_upright=True)


def _limit(axes: Axes, rows: Sequence[Row]) -> None:
    """Let the trials set the scale; a dense model that is far from all of them is given as text."""
    values = [row["objective"] for row in rows if row["objective"] is not None]
    dense = [row["dense_objective"] for row in rows if row["dense_objective"] is not None]
    if not values or not dense:
        return
    low, high = min(values), max(values)
    span = (high - low) or 0.01
    if min(dense) < low - span or max(dense) > high + span:
        axes.set_ylim(low - 0.15 * span, high + 0.15 * span)
        text = f"dense {number(dense[-1])}, outside the scale"
        axes.text(0.98, 0.97, text, ha="right", va="top", fontsize=7.5, color=QUIET, transform=axes.transAxes)


def _kinds(rows: Sequence[Row]) -> list[tuple[str, str, list[Row]]]:
    """Return colour, marker and rows of the stopped, infeasible and kept trials."""
    feasible = [row for row in rows if row["is_feasible"]]
    return [
        (GREY, "o", [row for row in feasible if row["status"] == "stopped"]),
        (VERMILLION, "X", [row for row in rows if not row["is_feasible"]]),
        (BLUE, "o", [row for row in feasible if row["status"] != "stopped"]),
    ]


def _space_panels(rows: Sequence[Row]) -> tuple[Panel, ...]:
    """Return a panel with the values of each axis and unit, if some vary."""
    points = [_point(row) for row in rows]
    axes = _varying(points)
    if not axes:
        return ()
    best = best_trial(rows)
    chosen = "" if best is None else ", ".join(f"{name} {_text(_point(best).get(name))}" for name in axes)
    return (
        Panel(
            label=f"Values of each axis of the space, {rows[0]['name']}: {len(rows)} trials; best trial: {chosen}",
            size=Size(max(3.4, 1.2 + 0.34 * len(axes)), 3.0, left=0.55, bottom=0.85 if _has_long(axes) else 0.45),
            draw=partial(_draw_space, rows=rows, points=points, names=axes),
        ),
    )


def _point(row: Row) -> Mapping[str, Any]:
    point = row["point"]
    parsed = json.loads(point) if isinstance(point, str) else point
    return dict(parsed or {})


def _varying(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names with several values, units by their numbers; at most `MAX_AXES`, those with most values."""
    names = sorted({name for point in points for name in point}, key=_place)
    n_values = {name: len({_text(point.get(name)) for point in points}) for name in names}
    varying = [name for name in names if n_values[name] > 1]
    kept = sorted(varying, key=lambda name: -n_values[name])[:MAX_AXES]
    return [name for name in varying if name in kept]


def _place(name: str) -> tuple[int, int, str]:
    first, _, rest = name.partition(".")
    return (1, int(first), rest) if first.isdigit() else (0, 0, name)


def _has_long(axes: Sequence[str]) -> bool:
    return max(map(len, axes)) > 3


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | int) and not isinstance(value, bool) else str(value)


def _draw_space(axes: Axes, *, rows: Sequence[Row], points: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Draw one line per trial over the axes: levels of units on a common scale, other axes from bottom to top."""
    start(axes, "trials by axis or unit", grid="x")
    heights = _heights(points, names)
    best = best_trial(rows)
    order = sorted(range(len(rows)), key=lambda index: (rows[index] is best, rows[index]["status"] != "stopped"))
    for index in order:
        row, shift = rows[index], 0.012 * (index % 7 - 3)
        is_best = row is best
        colour = ORANGE if is_best else GREY if row["status"] == "stopped" else BLUE
        ys = [heights[name][_text(points[index].get(name))] + (0 if is_best else shift) for name in names]
        width, alpha = (2.0, 1.0) if is_best else (0.8, 0.45)
        axes.plot(range(len(names)), ys, color=colour, marker="o", markersize=2.5, linewidth=width, alpha=alpha)
    for place, name in enumerate(names):
        for text, height in heights[name].items():
            if place == 0 or not name[0].isdigit():
                axes.text(place - 0.05, height, text, ha="right", va="center", fontsize=7, color=INK)
    axes.set_xticks(range(len(names)), names, rotation=90 if _has_long(names) else 0)
    axes.set_yticks([])
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(-0.08, 1.08)


def _heights(points: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return for each axis its values, as text, with their heights from 0 to 1; units have the same levels."""
    units = [name for name in names if name[0].isdigit()]
    values = {name: [point.get(name) for point in points] for name in names}
    levels = [value for name in units for value in values[name]]
    heights = {}
    for name in names:
        known = levels if name in units else values[name]
        numbers = sorted({value for value in known if isinstance(value, float | int)})
        if len(numbers) == len(set(map(_text, known))):
            low, span = numbers[0], (numbers[-1] - numbers[0]) or 1
            heights[name] = {_text(value): (value - low) / span for value in numbers}
        else:
            texts = sorted({_text(value) for value in known})
            heights[name] = dict(zip(texts, np.linspace(0, 1, len(texts)), strict=True))
    return heights


def removal_panels(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw one panel per search, task and metric, with a line over the removed units per language.

    Args:
        rows: result of `removal_curve.sql`.
    """
    for _, members in grouped(rows, "search_id", "name", "recipe"):
        cells = [cells for (_, metric), cells in grouped(members, "task", "metric") if metric in REMOVAL_METRICS]
        if not cells:
            continue
        series = [[line for _, line in grouped(of_metric, "language")] for of_metric in cells]
        lines = [first_lines(of_metric, lambda row: str(row["language"])) for of_metric in series]
        units = {row["n_removed"]: row["unit"] for row in members if row["unit"] is not None}
        yield Group(
            title=f"{members[0]['base_model']} · {members[0]['name']}",
            panels=tuple(_removal_panel(of_metric[0].rows[0]).panel(of_metric) for of_metric in lines),
            rows=members,
            legend=tuple(line.entry for line in max(lines, key=len)),
            note=f"Removed, in this order: {', '.join(map(str, units.values()))}.",
        )


def _removal_panel(row: Row) -> Lines:
    is_perplexity = row["metric"] == "perplexity"
    return Lines(
        "n_removed",
        "value",
        title=f"{row['metric']}, {row['task']}, {row['split']}",
        about=f"{row['metric']} of {row['task']} by removed units, {row['name']}",
        xlabel="units removed",
        ends="ci",
        has_zero=not is_perplexity,
        finish=lambda axes: axes.set_yscale("log") if is_perplexity else None,
    )


def final_panels(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw the objective of the winner and its comparators on the split of the report, one panel per search.

    Args:
        rows: result of `search_final.sql`.
    """
    return tuple(
        Group(
            title=f"{members[0]['name']}: {members[0]['direction']} {members[0]['objective']}",
            panels=(_verdict_panel(members),),
            rows=members,
            note=verdict_sentence(members),
        )
        for _, members in grouped(rows, "result_id", "name", "recipe")
    )


def verdict_sentence(rows: Sequence[Row]) -> str:
    """Return what the tests of the winner against its comparators show.

    Args:
        rows: of `search_final.sql`, all of one report.
    """
    parts = []
    for verdict, verb in _VERBS.items():
        compared = [row for row in rows if row["verdict"] == verdict]
        if compared:
            parts.append(f"{verb} {' and '.join(map(_compared, compared))}")
    tested = [row for row in rows if row["verdict"] in _VERBS]
    same = [row["role"] for row in rows if row["verdict_reason"] == "it is the same variant"]
    also = f" It is the same variant as {' and '.join(same)}." if same else ""
    if not tested:
        return f"{rows[0]['name']}: no test compares the winner with another variant.{also}"
    first = tested[0]
    where = f"{first['split']} {group_text(first)} ({first['metric']})"
    n_tests = first["n_tests"] or 1
    correction = f"; p is corrected over a family of {n_tests} tests" if n_tests > 1 else ""
    return f"On {where}, the winner of {first['name']} {', and '.join(parts)}{correction}.{also}"


def _compared(row: Row) -> str:
    low, high = (change(row[f"tested_ci_{end}"], row["tested_scale"]) for end in ("low", "high"))
    difference = change(row["tested_difference"], row["tested_scale"])
    return f"{row['role']} ({difference}, {low} to {high}, {p_text(row['p_corrected'])})"


def _verdict_panel(rows: Sequence[Row]) -> Panel:
    dense = rows[0]["test_dense_value"]
    return Dots(
        lambda row: str(row["role"]),
        (Mark("objective", "test_value", SeriesStyle(GREY, "o"), ends="test_ci"),),
        title=f"objective, 95 % intervals; line: dense {number(dense)}",
        about=f"Objective on the split of the report, dense {number(dense)}",
        zero=dense,
        is_signed=False,
        style=lambda row: SeriesStyle(BLUE, "D") if row["role"] == "winner" else None,
    ).panel(rows)
