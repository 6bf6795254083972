"""Estimate the remaining time of a run from the jobs done so far."""

from collections.abc import Mapping

SHORT_STEP = "compare"
"""Step with very short jobs; an estimate does not need a finished one."""


def remaining_s(
    total: Mapping[str, int], done: Mapping[str, int], spent: Mapping[str, float], *, elapsed_s: float
) -> float | None:
    """Estimate the remaining seconds of a run.

    Args:
        total: step -> number of its jobs.
        done: step -> number of its finished jobs; steps without any may be missing, here and in `spent`.
        spent: step -> seconds of its finished jobs, summed over the workers.
        elapsed_s: seconds since the start of the run.
    Returns: None until each step of long jobs has a finished one, and when no job remains.
    """
    n_left = {step: n - done.get(step, 0) for step, n in total.items() if n > done.get(step, 0)}
    if not n_left or not all(done.get(step) for step in n_left if step != SHORT_STEP):
        return None
    spent_s = sum(spent.values())
    left_s = sum(n * spent.get(step, 0.0) / max(1, done.get(step, 0)) for step, n in n_left.items())
    return left_s / spent_s * elapsed_s if spent_s else None
