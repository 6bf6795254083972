"""How long a run may still take, from what its jobs took so far."""

from collections.abc import Mapping


def remaining_s(
    total: Mapping[str, int], done: Mapping[str, int], spent: Mapping[str, float], *, elapsed_s: float
) -> float | None:
    """Seconds left of a run, from what the jobs of each step took so far.

    Args:
        total: step -> its jobs.
        done: step -> those that are done; a step without any may be missing, here and below.
        spent: step -> seconds that those took, summed over the workers.
        elapsed_s: seconds since the beginning.
    Returns: None until each step with long jobs has ended one, and when nothing is left.
    """
    left = {step: n - done.get(step, 0) for step, n in total.items() if n > done.get(step, 0)}
    if not left or not all(done.get(step) for step in left if step != "compare"):
        return None
    worked = sum(spent.values())
    work = sum(n * spent.get(step, 0.0) / max(1, done.get(step, 0)) for step, n in left.items())
    return work / worked * elapsed_s if worked else None
