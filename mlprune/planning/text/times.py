"""Durations in the text of a plan."""

from collections.abc import Callable

from mlprune.planning.resources.trials_cost import TrialsCost

Seconds = Callable[[TrialsCost], float | None]
"""Duration of some trials or probes; None if a rate is unknown."""


def format_time(seconds: float) -> str:
    """Format a duration in seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def about(time: float | None) -> str:
    """Format an estimate; None is unknown."""
    return "time unknown" if time is None else f"about {format_time(time)}"
