"""Cost of runs: time, memory, warm-up and tokens per second by step, one row of bars per run."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes

from catalog.report.exhibits import Group, Panel, Size, distinct, grouped, some
from catalog.report.styles import BLUE, GREEN, INK, ORANGE, PURPLE
from catalog.results import Row

MAX_RUNS = 8
"""Maximum number of runs to draw; they are chosen at even distances."""
_MEASURES = (
    ("elapsed_s", "seconds of all jobs", BLUE),
    ("median_s", "median seconds of a job", PURPLE),
    ("peak_memory_gib", "largest memory of a job, GiB", ORANGE),
    ("tokens_per_s", "tokens per second", GREEN),
)
"""Column, heading and colour."""


def cost_bars(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw the time, memory and speed of each run, one panel each.

    Args:
        rows: result of `cost_by_step.sql`.
    """
    shown, omitted = some([members for _, members in grouped(rows, "run_id")], MAX_RUNS, "runs")
    return tuple(
        Group(title=f"{members[0]['run_id']}{omitted}", panels=_panels(members), rows=members) for members in shown
    )


def _panels(rows: Sequence[Row]) -> tuple[Panel, ...]:
    size = Size(4.2, 0.55 + 0.26 * len(distinct(rows, "step")), left=1.45, right=1.05, top=0.34, bottom=0.12)
    return tuple(
        Panel(
            label=f"{heading}: "
            + ", ".join(f"{row['step']} {_short(row[column])}" for row in rows if row[column] is not None),
            size=size,
            draw=partial(_bars, rows=rows, column=column, heading=heading, colour=colour),
        )
        for column, heading, colour in _MEASURES
        if any(row[column] is not None for row in rows)
    )


def _bars(axes: Axes, *, rows: Sequence[Row], column: str, heading: str, colour: str) -> None:
    axes.set_title(heading, color=INK, weight="bold", fontsize=9)
    positions = range(len(rows))
    axes.barh(positions, [row[column] or 0 for row in rows], height=0.62, color=colour)
    for position, row in zip(positions, rows, strict=True):
        if row[column] is not None:
            text = f" {_short(row[column])}"
            if column == "median_s" and row["first_s"] is not None:
                text += f", first {_short(row['first_s'])}"
            axes.text(row[column], position, text, va="center", fontsize=7.5, color=INK)
    axes.set_yticks(positions, [_step(row) for row in rows])
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def _step(row: Row) -> str:
    """Return a step with its number of jobs, and of tries if some failed or were lost."""
    tries = f", {row['n_tries']:,} tries" if row["n_tries"] != row["n_jobs"] else ""
    return f"{row['step']} ({row['n_jobs']:,}{tries})"


def _short(value: float) -> str:
    """Return a number with three digits, with a separator of thousands."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
