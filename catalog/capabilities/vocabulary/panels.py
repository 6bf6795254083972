"""Figure of smaller vocabularies: the share of removed weights against the cost of each language."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from catalog.report import exhibits, labels
from catalog.report.panels.differences import format_ratios
from catalog.report.svg import interval_line, start
from catalog.results import Row
from mlprune.vocabulary import LOG_RATIO

MAX_LANGUAGES = 12
"""Maximum number of languages in a panel, at even distances."""
_MARKERS = ("o", "s", "^", "D", "v", "P")
Styles = Mapping[Any, labels.SeriesStyle]
"""Language -> its colour and marker."""


def vocabulary_panels(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Draw one figure per model and choice of tokens: a panel of kept languages, and one of dropped ones.

    Variants of a figure differ in the number of tokens that they keep. If a variant was measured in several texts, the
    one of most lines is drawn. A language without a line that fits the model has no cost and is not drawn.

    Args:
        rows: result of `vocabulary_cost.sql`.
    """
    longest = [
        max(measured, key=lambda row: row["n"]) for _, measured in exhibits.grouped(rows, "variant_id", "language")
    ]
    for (model, _, choice), members in exhibits.grouped(longest, "base_model", "base_model_id", "choice"):
        with_cost = [row for row in members if _log(row["cost"]) is not None]
        if not with_cost:
            continue
        styles = _styles(exhibits.english_first(row["language"] for row in with_cost))
        lines = sorted({row["n"] for row in with_cost})
        panels = [
            _panel([row for row in with_cost if row["is_kept"] == is_kept], title=title, styles=styles)
            for is_kept, title in ((True, "kept languages"), (False, "dropped languages"))
            if any(row["is_kept"] == is_kept for row in with_cost)
        ]
        yield exhibits.Group(
            title=f"{model}: {choice}",
            panels=tuple(panels),
            rows=members,
            legend=tuple(exhibits.LegendEntry.of_series(str(language), style) for language, style in styles.items()),
            facets=labels.facets_of(members[0], only=("model",)),
            note=f"{labels.text_range(f'{lines[0]:,}', f'{lines[-1]:,}')} lines of each language.{_longer(members)}",
        )


def _longer(rows: Sequence[Row]) -> str:
    """Return a sentence about the lines that are left out, with the most of any variant; empty for none."""
    most = {language: max(row["n_longer"] for row in of) for (language,), of in exhibits.grouped(rows, "language")}
    texts = [f"{n_longer:,} in {language}" for language, n_longer in most.items() if n_longer]
    return f" Lines left out because they are longer than the model: up to {', '.join(texts)}." if texts else ""


def _styles(languages: Sequence[str]) -> Styles:
    colours = labels.FURTHER_COLOURS
    wanted = {
        language: labels.SeriesStyle(colours[index % len(colours)], _MARKERS[index % len(_MARKERS)])
        for index, language in enumerate(languages)
    }
    return labels.distinct_styles(wanted)


def _panel(rows: Sequence[Row], *, title: str, styles: Styles) -> exhibits.Panel:
    by_language = exhibits.grouped(rows, "language")
    shown = exhibits.evenly_spaced(by_language, MAX_LANGUAGES)
    size = exhibits.Size(3.5, 2.8, left=0.7, right=0.15, bottom=0.5)
    title += exhibits.omission_note(len(shown), len(by_language), "languages")
    draw = partial(_draw, lines=[members for _, members in shown], title=title, styles=styles)
    return exhibits.Panel(label=_label(rows, title), size=size, draw=draw)


def _label(rows: Sequence[Row], title: str) -> str:
    """Return the costs of the smallest vocabulary as text."""
    most = max(row["removed_weights"] for row in rows)
    costs = [
        f"{row['language']} {labels.with_interval(row['cost'], row['cost_low'], row['cost_high'], signed=True)}"
        for row in rows
        if row["removed_weights"] == most
    ]
    return f"Cost by removed weights, {title}; at {labels.number(most, digits=2)} of all weights: {', '.join(costs)}"


def _draw(axes: Axes, *, lines: Sequence[Sequence[Row]], title: str, styles: Styles) -> None:
    start(axes, title, grid="both")
    axes.set_xlabel("share of all weights that are removed")
    axes.set_ylabel("perplexity per character / dense")
    axes.axhline(0, color=labels.BLACK, linewidth=0.8, linestyle=":", zorder=1)
    for members in lines:
        style = styles[members[0]["language"]]
        ordered = sorted(members, key=lambda row: row["removed_weights"])
        places = [row["removed_weights"] for row in ordered]
        axes.plot(places, [math.log1p(row["cost"]) for row in ordered], color=style.colour, linewidth=1.4, zorder=2)
        for place, row in zip(places, ordered, strict=True):
            look: dict[str, Any] = {**style.marker_options, "linestyle": "", "zorder": 3}
            ends = (_log(row["cost_low"]), _log(row["cost_high"]))
            interval_line(axes, place, math.log1p(row["cost"]), ends, colour=style.colour, **look)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.margins(x=0.08, y=0.1)
    axes.set_ylim(*axes.get_ylim())
    format_ratios({"scale": LOG_RATIO}, axes)


def _log(cost: float | None) -> float | None:
    """Return the log of the ratio of the perplexities; None for a single line, whose cost has no interval."""
    return math.log1p(cost) if cost is not None and cost > -1 else None
