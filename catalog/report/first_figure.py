"""The figure of page one: the variants that the questions name, or methods, compared with the dense model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from catalog.report.claims import sign_of
from catalog.report.exhibits import LegendEntry, Panel, Size, grouped
from catalog.report.labels import METRIC_LABELS, number
from catalog.report.marks import Dots, Mark, name_ends, point, start
from catalog.report.panels.differences import round_ratios
from catalog.report.styles import (
    BLACK,
    GREY,
    INK,
    MAX_IN_LEGEND,
    METHOD,
    QUIET,
    WHITE,
    SeriesStyle,
    method_label,
    method_styles,
    short_names,
)
from catalog.report.svg import text_width
from catalog.results import Row
from mlprune.vocabulary import LOG_RATIO

MAX_METHODS, MAX_VARIANTS = 6, 11
"""Maximum number of methods of a store without declared questions, and of those that questions name."""
_WIDTH, _HEIGHT, _END = 5.6, 3.7, 6.5
"""Size of the panel in inches, and of names at the ends of lines in points."""
_DODGE, _SPREAD = 0.014, 0.09
"""Largest distance of two marks at one sparsity, and of all of them, as shares of the axis."""
_MARKS = (
    Mark("outside English", "value", SeriesStyle(BLACK, "o"), ends="outside"),
    Mark("English", "english", SeriesStyle(GREY, "D"), ends="english", keeps_style=True),
)


@dataclass(frozen=True)
class Series:
    """One method of the figure."""

    name: str
    style: SeriesStyle
    outside: Sequence[Row]
    """Its means over the languages other than English, by sparsity; at least one."""
    english: Sequence[Row]
    """Its values in English."""

    @property
    def label(self) -> str:
        """The name, with the number of variants if it is a mean over other things than seeds."""
        n_variants = max(row["n_variants"] for row in self.outside)
        return self.name if n_variants == 1 or "estimate" in self.outside[0] else f"{self.name} (mean of {n_variants})"


@dataclass(frozen=True)
class FirstFigure:
    """The figure with its texts."""

    title: str
    panel: Panel
    legend: tuple[LegendEntry, ...]
    """The methods; empty if their names are in the figure."""
    note: str
    """How to read it."""


def first_figure(
    methods: Sequence[Row], variants: Sequence[Row], *, styles: Mapping[str, SeriesStyle]
) -> FirstFigure | None:
    """Return the figure of the variants that the questions name, or of all methods if they name none.

    It has dots if every method has a single sparsity, else lines. Names are in the figure if it has dots, or more than
    `MAX_IN_LEGEND` lines.

    Args:
        methods: of `first_curve.sql`.
        variants: of `first_variants.sql`.
        styles: the style of each method with its demonstrations, by its text.
    """
    named = [{**row, "chance": methods[0]["chance"]} for row in variants]
    every = named_series(named, styles) or method_series(methods)
    limit = MAX_VARIANTS if variants else MAX_METHODS
    random = [one for one in every[limit:] if one.outside[0]["score"] == "random"][:1]
    series = [*every[: limit - len(random)], *random]
    if not series:
        return None
    has_dots = all(len(one.outside) == 1 for one in series)
    is_named = has_dots or len(series) > MAX_IN_LEGEND
    legend = () if is_named else tuple(LegendEntry.of_series(one.label, one.style) for one in series)
    panel = _dots_panel(series) if has_dots else _lines_panel(series, is_named=is_named)
    return FirstFigure(_title(series, n_all=len(every)), panel, legend, _note(series, has_dots=has_dots))


def named_series(rows: Sequence[Row], styles: Mapping[str, SeriesStyle]) -> list[Series]:
    """Return a series for each method with its demonstrations, in the order of the rows; see `first_figure`."""
    methods = grouped(rows, "method")
    names = short_names([members[0] for _, members in methods], with_sets=True)
    return _series(
        (name, styles[str(method)], members) for name, ((method,), members) in zip(names, methods, strict=True)
    )


def method_series(rows: Sequence[Row]) -> list[Series]:
    """Return a series for each method, over all of its demonstrations."""
    styles = method_styles(rows)
    return _series(
        (styles[method].name or method_label(members[0]), styles[method], members)
        for method, members in grouped(rows, *METHOD)
    )


def _series(parts: Iterable[tuple[str, SeriesStyle, Sequence[Row]]]) -> list[Series]:
    groups = [(name, style, dict(grouped(rows, "language"))) for name, style, rows in parts]
    return [
        Series(name, style, by_group["outside_english",], by_group.get(("en",), ()))
        for name, style, by_group in groups
        if ("outside_english",) in by_group
    ]


def _is_ratio(row: Row) -> bool:
    return bool(row["scale"] == LOG_RATIO)


def _measure(row: Row) -> str:
    metric = METRIC_LABELS[row["metric"]]
    return f"{metric} / dense" if _is_ratio(row) else metric


def _sparsities(series: Sequence[Series]) -> list[float]:
    return sorted({row["sparsity"] for one in series for row in one.outside})


def _title(series: Sequence[Series], *, n_all: int) -> str:
    first, sparsities = series[0].outside[0], _sparsities(series)
    what = _measure(first) if first["task"] == first["metric"] else f"{first['task']}, {_measure(first)}"
    how = f"at sparsity {sparsities[0]:g}" if len(sparsities) == 1 else "by sparsity"
    omitted = f"; {len(series)} of {n_all} methods" if n_all > len(series) else ""
    return f"{first['base_model']} · {what} on {first['split']} {how}{omitted}"


def _note(series: Sequence[Series], *, has_dots: bool) -> str:
    text = "Solid: mean over the languages other than English, with 95 % intervals. Dotted: English."
    if has_dots:
        text = "In colour: mean over the languages other than English. Grey: English. Bars: 95 % intervals."
    has_all = all(row["low"] is not None for one in series for row in one.outside)
    return text if has_all else f"{text} A mean over several variants has none."


def _dense(series: Sequence[Series]) -> list[tuple[float, str]]:
    """Return the values of the dense model with their names: outside English and in English, or only one if equal."""
    values = {
        name: rows[0]["dense_value"]
        for name, rows in (
            ("outside English", [row for one in series for row in one.outside]),
            ("English", [row for one in series for row in one.english]),
        )
        if rows
    }
    if len(set(values.values())) == 1:
        return [(next(iter(values.values())), "dense")]
    return [(value, f"dense, {name}") for name, value in values.items()]


def _dots_panel(series: Sequence[Series]) -> Panel:
    """Return a panel with a row per method, the best one outside English on top."""
    sign, several = sign_of(series[0].outside[0]["metric"]), len(_sparsities(series)) > 1
    rows = []
    for one in sorted(series, key=lambda one: -sign * float(one.outside[0]["value"])):
        (row,) = one.outside
        english = next(iter(one.english), {})
        at = f", at {row['sparsity']:g}" if several and row["sparsity"] else ""
        ends = {"outside_low": row["low"], "outside_high": row["high"]}
        ends |= {"english_low": english.get("low"), "english_high": english.get("high")}
        rows.append(
            {"value": row["value"], "english": english.get("value"), "name": one.label + at, "style": one.style} | ends
        )
    first, dense = series[0].outside[0], _dense(series)
    values = ", ".join(f"{name} {number(value)}" for value, name in dense)
    dots = Dots(
        lambda row: str(row["name"]),
        _MARKS,
        title="",
        about=f"{_measure(first)} on {first['split']}, {values}",
        xlabel=f"{_measure(first)}, {'higher' if sign > 0 else 'lower'} is better",
        zero=None,
        is_signed=False,
        width=_WIDTH,
        style=lambda row: row["style"],
        finish=partial(_finish_dots, dense=dense, is_ratio=_is_ratio(first)),
    )
    return dots.panel(rows)


def _finish_dots(axes: Axes, *, dense: Sequence[tuple[float, str]], is_ratio: bool) -> None:
    for value, _ in dense:
        axes.axvline(value, color=BLACK, linewidth=0.9, zorder=1)
    _scale(axes, "x", is_ratio=is_ratio)
    places = [float((axes.transScale + axes.transLimits).transform((value, 0.0))[0]) for value, _ in dense]
    if max(places) - min(places) < 0.35:
        places, dense = places[:1], [(dense[0][0], " | ".join(name for _, name in dense))]
    for place, (_, name) in zip(places, dense, strict=True):
        side = "left" if place < 0.25 else "right" if place > 0.75 else "center"
        axes.text(
            place, 1.01, name, transform=axes.transAxes, fontsize=8, color=INK, ha=side, va="bottom", weight="bold"
        )


def _scale(axes: Axes, side: str, *, is_ratio: bool) -> None:
    """Give an axis logarithms with round ratios at its ticks, if it has ratios to the dense model."""
    if not is_ratio:
        return
    axis = axes.xaxis if side == "x" else axes.yaxis
    (axes.set_xscale if side == "x" else axes.set_yscale)("log")
    ratios = round_ratios(*sorted(axes.get_xlim() if side == "x" else axes.get_ylim()))
    axis.set_major_locator(FixedLocator(ratios))
    axis.set_major_formatter(FixedFormatter([f"{ratio:,.6g}" for ratio in ratios]))
    axis.set_minor_locator(NullLocator())


def _lines_panel(series: Sequence[Series], *, is_named: bool) -> Panel:
    last = [one.outside[-1] for one in series]
    values = ", ".join(f"{name} {number(value)}" for value, name in _dense(series))
    ends = "; ".join(
        f"{one.label} {number(row['value'])} at {row['sparsity']:.3g}" for one, row in zip(series, last, strict=True)
    )
    right = 0.2 + max(text_width(one.label, _END, "normal") for one in series) if is_named else 0.12
    size = Size(_WIDTH, _HEIGHT + 0.4 * is_named, left=0.56, right=right, top=0.16)
    label = f"{_measure(last[0])} on {last[0]['split']} outside English by sparsity, {values}: {ends}"
    return Panel(label=label, size=size, draw=partial(_draw_lines, series=series, is_named=is_named))


def _draw_lines(axes: Axes, *, series: Sequence[Series], is_named: bool) -> None:
    """Draw means outside English with intervals, English dotted, the dense model and the chance level."""
    start(axes, "")
    first, sparsities = series[0].outside[0], _sparsities(series)
    axes.set_xlabel("sparsity")
    axes.set_ylabel(_measure(first))
    step = min(_DODGE, _SPREAD / len(series)) * sparsities[-1]
    shifts = [step * (place - (len(series) - 1) / 2) for place in range(len(series))]
    for one, shift in zip(series, shifts, strict=True):
        for rows, dash, width in ((one.english, ":", 1.1), (one.outside, "-", 1.5)):
            if len(rows) > 1:
                at = [0.0, *(row["sparsity"] + shift for row in rows if row["sparsity"])]
                values = [rows[0]["dense_value"], *(row["value"] for row in rows if row["sparsity"])]
                axes.plot(at, values, color=one.style.colour, linestyle=dash, linewidth=width, zorder=2)
        for row in one.outside:
            at_mark = (row["sparsity"] + shift, row["value"])
            point(axes, at_mark, (None, None), one.style)
            point(axes, (at_mark[0], None), (row["low"], row["high"]), one.style, is_upright=True)
    for value, _ in _dense(series):
        axes.axhline(value, color=BLACK, linewidth=0.9, zorder=1)
    chance = first["chance"]
    if chance is not None:
        axes.axhline(chance, color=QUIET, linewidth=1.0, linestyle="--", zorder=1)
    _scale(axes, "y", is_ratio=_is_ratio(first))
    if not _is_ratio(first):
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.set_xlim(0.0, sparsities[-1] * 1.06)
    levels = sorted({0.0, *sparsities})
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    if chance is not None:
        axes.text(0.0, chance, "chance", fontsize=8, color=QUIET, va="bottom")
    side = "top" if _is_ratio(first) else "bottom"
    for value, name in _dense(series):
        text = axes.text(sparsities[-1] * 1.06, value, name, fontsize=8, color=INK, ha="right", va=side, weight="bold")
        text.set_bbox({"facecolor": WHITE, "edgecolor": "none", "pad": 0.6, "alpha": 0.8})
        text.set_zorder(4)
    if is_named:
        last = [(one, one.outside[-1], shift) for one, shift in zip(series, shifts, strict=True)]
        ends = [(row["sparsity"] + shift, row["value"], one.style, one.label) for one, row, shift in last]
        list(name_ends(axes, ends))
