"""What `mlprune status` prints: the state of a run in words, its steps, its pace, who works, what failed."""

import time

from ray_jobs.driver.run_status import RunStatus, State

SHOWN_FAILURES, SHOWN_CLAIMS = 5, 4


def in_words(run: RunStatus) -> str:
    """A run as lines of text."""
    jobs, done = (sum(getattr(one, name) for one in run.steps.values()) for name in ("n_jobs", "n_done"))
    lines = [f"run {run.run_id} of {run.recipe} on {run.host} ({run.address}): {_state_in_words(run)}"]
    lines.append(f"  {done} of {jobs} jobs done in {_duration(run.elapsed_s)}{_pace(run, done)}")
    for step, one in run.steps.items():
        mean = f", {one.spent_s / one.n_done:.2f} s each" if one.n_done and one.spent_s else ""
        failed = f", {one.n_failed} failed" if one.n_failed else ""
        lines.append(f"  {step:12} {one.n_done:6} done {one.n_left:6} left{failed}{mean}")
    if run.lost:
        lines.append(f"  {run.lost} tries were repeated")
    if run.at_work_on:
        lines.append(
            f"  at work on {', '.join(run.at_work_on[:SHOWN_CLAIMS])}{_more(len(run.at_work_on) - SHOWN_CLAIMS)}"
        )
    lines += [f"  {worker}: {n} jobs" for worker, n in sorted(run.workers.items())]
    lines += [f"  failed: {one}" for one in run.failures[:SHOWN_FAILURES]]
    if len(run.failures) > SHOWN_FAILURES:
        lines.append(f"  failed:{_more(len(run.failures) - SHOWN_FAILURES)}: mlprune query failures")
    return "\n".join(lines)


def _state_in_words(run: RunStatus) -> str:
    ago = _duration(max(0.0, time.time() - run.last_sign_at.timestamp()))
    words: dict[State, str] = {
        "running": "running",
        "silent": f"no sign of life for {ago}; the same command goes on where it stopped",
        "died": "its process has ended without a word; the same command goes on where it stopped",
        "done": f"done {ago} ago",
        "failed": f"ended {ago} ago, some jobs failed; the same command tries them again",
        "stopped": f"stopped {ago} ago; the same command goes on",
    }
    return words[run.state]


def _pace(run: RunStatus, n_done: int) -> str:
    """Rate and time left."""
    rate = f", {60 * n_done / run.elapsed_s:.1f} a minute" if n_done and run.elapsed_s else ""
    left = f", about {_duration(run.remaining_s)} left" if run.remaining_s is not None else ""
    return rate + left


def _more(n: int) -> str:
    return f" and {n} more" if n > 0 else ""


def _duration(seconds: float) -> str:
    """Seconds in words: 75 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
