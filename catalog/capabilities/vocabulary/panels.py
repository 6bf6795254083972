"""Figure of smaller vocabularies: the share of removed weights against the cost of each language."""

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from catalog.report import exhibits, labels
from catalog.report.marks import Line, Lines
from catalog.report.panels.differences import format_ratios
from catalog.report.styles import BLACK, MAX_IN_LEGEND, first_styles
from catalog.results import Row
from mlprune.vocabulary import LOG_RATIO

_COSTS = {"cost": "log_cost", "cost_low": "log_low", "cost_high": "log_high"}


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
        languages, note = exhibits.some(
            exhibits.english_first(row["language"] for row in with_cost), MAX_IN_LEGEND, "languages"
        )
        by_language = dict(exhibits.grouped(sorted(with_cost, key=lambda row: row["removed_weights"]), "language"))
        lines = [Line(by_language[name,], style, str(name)) for name, style in first_styles(languages).items()]
        n_lines = [row["n"] for row in with_cost]
        yield exhibits.Group(
            title=f"{model}: {choice}{note}",
            panels=tuple(_panels(lines)),
            rows=members,
            legend=tuple(line.entry for line in lines),
            note=f"{labels.text_range(*(f'{end(n_lines):,}' for end in (min, max)))} lines of each language."
            + _longer(members),
        )


def _panels(lines: Sequence[Line]) -> Iterator[exhibits.Panel]:
    """Yield a panel of the kept languages, and one of the dropped ones."""
    for is_kept, title in ((True, "kept languages"), (False, "dropped languages")):
        parts = [
            Line(
                [{**row, **{new: _log(row[name]) for name, new in _COSTS.items()}} for row in rows],
                line.style,
                line.name,
            )
            for line in lines
            if (rows := [row for row in line.rows if row["is_kept"] == is_kept])
        ]
        if parts:
            yield Lines(
                "removed_weights",
                "log_cost",
                title=title,
                about=_about([row for line in parts for row in line.rows], title),
                xlabel="share of all weights that are removed",
                ylabel="perplexity per character / dense",
                ends="log",
                size=exhibits.Size(3.5, 2.8, left=0.7, right=0.15, bottom=0.5),
                has_zero=False,
                finish=_finish,
            ).panel(parts)


def _longer(rows: Sequence[Row]) -> str:
    """Return a sentence about the lines that are left out, with the most of any variant; empty for none."""
    most = {language: max(row["n_longer"] for row in of) for (language,), of in exhibits.grouped(rows, "language")}
    texts = [f"{n_longer:,} in {language}" for language, n_longer in most.items() if n_longer]
    return f" Lines left out because they are longer than the model: up to {', '.join(texts)}." if texts else ""


def _about(rows: Sequence[Row], title: str) -> str:
    """Return the costs of the smallest vocabulary as text."""
    most = max(row["removed_weights"] for row in rows)
    costs = [
        f"{row['language']} {labels.with_interval(row['cost'], row['cost_low'], row['cost_high'], signed=True)}"
        for row in rows
        if row["removed_weights"] == most
    ]
    return f"Cost by removed weights, {title}; at {labels.number(most, digits=2)} of all weights: {', '.join(costs)}"


def _finish(axes: Axes) -> None:
    axes.axhline(0, color=BLACK, linewidth=0.8, linestyle=":", zorder=1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.margins(x=0.08, y=0.1)
    axes.set_ylim(*axes.get_ylim())
    format_ratios(axes, {"scale": LOG_RATIO})


def _log(cost: float | None) -> float | None:
    """Return the log of the ratio of the perplexities; None for a single line, whose cost has no interval."""
    return math.log1p(cost) if cost is not None and cost > -1 else None
