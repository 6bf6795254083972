"""Figures of sensitivity: losses of units, agreement of languages, and block influence."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from catalog.report.exhibits import (
    Grid,
    Group,
    LegendEntry,
    Panel,
    Scale,
    Size,
    distinct,
    english_first,
    evenly_spaced,
    grouped,
    omission_note,
)
from catalog.report.labels import BLUE, GREY, facets_of, number, task_label, with_interval
from catalog.report.panels.layers import STYLES, block_by_layer
from catalog.report.svg import INK
from catalog.results import Row

_ANALYSIS = ("sensitivity_id", "score", "demonstration_label")
_UNITS = {"block": "block", "layer": "layer kind", "block_layer": "block and layer"}
MAX_LANGUAGES, N_MOST = 12, 5
"""Maximum number of panels of an analysis with one per language, and number of most sensitive units in each."""


def loss_panels(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw one figure per analysis: heat maps of all losses, then the most sensitive units of each language.

    Args:
        rows: result of `sensitivity_losses.sql`.
    """
    groups = []
    for _, members in grouped(rows, *_ANALYSIS):
        first, scale = members[0], _scale(members)
        kind, measure = _UNITS[first["unit_kind"]], _measure(first)
        by_language = [cells for _, cells in grouped(members, "language")]
        shown = by_language[:MAX_LANGUAGES]
        maps = [_by_language(members, scale=scale)] if first["unit_kind"] != "block_layer" else []
        maps += [_of_language(cells, scale=scale) for cells in shown if first["unit_kind"] == "block_layer"]
        groups.append(
            Group(
                title=f"{task_label(first)}: {first['score']} at {first['sparsity']:g}, by {kind}"
                + omission_note(len(shown), len(by_language), "languages"),
                panels=(*maps, *(_most_panel(cells) for cells in shown)),
                rows=members,
                legend=(
                    LegendEntry(
                        f"better {number(scale.low, signed=True)}|{number(scale.high, signed=True)} worse: {measure}",
                        scale=scale,
                    ),
                ),
                facets=facets_of(first, only=("model", "task")),
            )
        )
    return tuple(groups)


def _measure(row: Row) -> str:
    return f"ln of the ratio of {row['metric']}" if row["scale"] == "log_ratio" else f"loss of {row['metric']}"


def _scale(rows: Sequence[Row]) -> Scale:
    """Return the range of the losses, symmetric around 0; orange is better than dense and purple worse."""
    largest = max((abs(row["loss"]) for row in rows if row["loss"] is not None), default=0.0) or 0.01
    return Scale(-largest, largest, is_diverging=True)


def _by_language(rows: Sequence[Row], *, scale: Scale) -> Grid:
    """Return a heat map with a row per language and a column per unit; a star is significant over the units."""
    languages, units = distinct(rows, "language"), distinct(rows, "unit")
    cells = {(languages.index(row["language"]), units.index(row["unit"])): row for row in rows}
    known = {place: row for place, row in cells.items() if row["loss"] is not None}
    worst = max(known.values(), key=lambda row: row["loss"], default=rows[0])
    return Grid(
        title=f"{_measure(rows[0])}; * p < 0.05 over the units (max-T)",
        label=f"{_measure(rows[0])} by language and unit: largest in {worst['language']}, unit {worst['unit']}: "
        f"{number(worst['loss'], signed=True)}",
        rows=tuple(map(str, languages)),
        columns=tuple(map(str, units)),
        values={place: row["loss"] for place, row in known.items()},
        texts={place: number(row["loss"], digits=2) + ("*" if is_needed(row) else "") for place, row in known.items()},
        scale=scale,
        row_name="language",
        column_name=_UNITS[rows[0]["unit_kind"]],
    )


def _of_language(rows: Sequence[Row], *, scale: Scale) -> Grid:
    known = [row for row in rows if row["loss"] is not None]
    worst = max(known, key=lambda row: row["loss"])
    label = f"{_measure(worst)} in {worst['language']} by block and layer: largest in block {worst['block']}, "
    return block_by_layer(
        known,
        column="loss",
        title=str(worst["language"]),
        label=f"{label}{worst['layer']}: {number(worst['loss'], signed=True)}",
        scale=scale,
    )


def is_needed(row: Row) -> bool:
    """Whether the loss is above 0 after correction over the units."""
    return row["loss"] is not None and row["loss"] > 0 and row["p_max_t"] is not None and row["p_max_t"] < 0.05


def _most_panel(rows: Sequence[Row]) -> Panel:
    known = [row for row in rows if row["loss"] is not None]
    most = sorted(known, key=lambda row: -row["loss"])[:N_MOST]
    texts = (f"{row['unit']} {with_interval(row['loss'], row['ci_low'], row['ci_high'], signed=True)}" for row in most)
    left = 0.35 + 0.07 * max((len(row["unit"]) for row in most), default=0)
    return Panel(
        label=f"Most sensitive units in {rows[0]['language']}: {', '.join(texts)}",
        size=Size(left + 2.2, 0.72 + 0.24 * len(most), left=left, bottom=0.36),
        draw=partial(_draw_most, rows=most, title=str(rows[0]["language"])),
    )


def _draw_most(axes: Axes, *, rows: Sequence[Row], title: str) -> None:
    axes.set_title(title, color=INK, weight="bold", fontsize=9)
    axes.grid(axis="x")
    axes.axvline(0, color=GREY, linewidth=1.0)
    for place, row in enumerate(rows):
        colour = BLUE if is_needed(row) else GREY
        if row["ci_low"] is not None and row["ci_high"] is not None:
            axes.hlines(place, row["ci_low"], row["ci_high"], color=colour, linewidth=1.4)
        axes.plot([row["loss"]], [place], "o", color=colour, markersize=4)
    axes.set_yticks(range(len(rows)), [str(row["unit"]) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)


SCALE = Scale(-1.0, 1.0, is_diverging=True)


def agreement_matrices(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw one matrix of languages per analysis: the corrected correlation above its interval.

    Args:
        rows: result of `sensitivity_agreement.sql`.
    """
    return tuple(
        Group(
            title=f"{task_label(members[0])}: {members[0]['n_units']} units at {members[0]['sparsity']:g}, by "
            f"{str(members[0]['unit_kind']).replace('_', ' and ')}",
            panels=(_matrix(members),),
            rows=members,
            legend=(LegendEntry("−1|+1: the same units matter to both", scale=SCALE),),
            facets=facets_of(members[0], only=("model", "task")),
        )
        for _, members in grouped(rows, "sensitivity_id")
    )


def _matrix(rows: Sequence[Row]) -> Grid:
    languages = english_first(language for row in rows for language in (row["language"], row["other_language"]))
    cells = {}
    for row in rows:
        places = sorted(languages.index(row[name]) for name in ("language", "other_language"))
        if row["corrected"] is not None:
            cells[places[1] - 1, places[0]] = row
    texts = (f"{row['language']} and {row['other_language']} {_interval(row)}" for row in rows)
    return Grid(
        title="rank correlation of losses over the units, with 95 % intervals",
        label=f"Agreement of languages: {', '.join(texts)}",
        rows=tuple(languages[1:]),
        columns=tuple(languages[:-1]),
        values={place: row["corrected"] for place, row in cells.items()},
        texts={place: _text(row) for place, row in cells.items()},
        scale=SCALE,
        row_name="language",
        column_name="other language",
    )


def _text(row: Row) -> str:
    ends = [number(row[name], digits=2) for name in ("ci_low", "ci_high")]
    return f"{number(row['corrected'], digits=2)} ({ends[0]} to {ends[1]})"


def _interval(row: Row) -> str:
    return with_interval(row["corrected"], row["ci_low"], row["ci_high"])


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
