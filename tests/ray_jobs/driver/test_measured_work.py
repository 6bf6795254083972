"""Remaining time of simulated runs on two workers: at each moment within a factor of two of what is left."""

from collections.abc import Callable

import pytest

from mlprune.processes.job_parts import JobParts
from ray_jobs.driver.measured_work import MeasuredWork
from tests.ray_jobs.driver.scripted_workers import NamedJob

START_S = 20.0
"""Seconds in which the workers load the model."""
LONG_S, SHORT_S = 12.0, 4.0
N_LONG, N_SHORT = 4, 36


def run_of(slowness: Callable[[float], float]) -> list[tuple[NamedJob, float, float]]:
    """Return (job, begin, end): the long jobs first, on the worker that is free first.

    Args:
        slowness: seconds since the first job -> how much longer a job takes that begins then.
    """
    free = [START_S, START_S]
    jobs = []
    for number in range(N_LONG + N_SHORT):
        begin = min(free)
        seconds = (LONG_S if number < N_LONG else SHORT_S) * slowness(begin - START_S)
        free[free.index(begin)] = begin + seconds
        jobs.append((NamedJob(f"job {number}"), begin, begin + seconds))
    return jobs


@pytest.mark.parametrize(
    "slowness",
    [
        lambda _: 1.0,
        lambda _: 2.0,
        lambda second: 1.8 if second > 50 else 1.0,
        lambda second: 0.6 if second > 50 else 1.0,
    ],
    ids=["as planned", "slow from the start", "slow later", "fast later"],
)
def test_the_remaining_time_is_within_a_factor_of_two(slowness: Callable[[float], float]) -> None:
    run = run_of(slowness)
    end = max(ended for _, _, ended in run)
    flops = {job.makes[-1]: 3e12 if number < N_LONG else 1e12 for number, (job, _, _) in enumerate(run)}
    step = run[0][0].step
    mean = sum(flops.values()) / len(flops)
    first = min(ended for _, _, ended in run)
    for now in range(int(first) + 1, int(end) - 8, 7):
        work = MeasuredWork([job for job, _, _ in run], flops={step: mean}, job_flops=flops)
        for job, begin, ended in run:
            if ended <= now:
                work.done(job, ended - begin, now=ended)
        running = {
            job.makes[-1]: JobParts(step, "batch", 0, 1, 0.0, current_s=now - begin)
            for job, begin, ended in run
            if begin <= now < ended
        }
        left_s = work.estimate(running, elapsed_s=now, now=now).remaining_s
        assert left_s is not None
        assert 0.5 <= left_s / (end - now) <= 2.0, (now, left_s, end - now)


def test_a_kind_of_job_has_its_own_rate() -> None:
    slow, fast = NamedJob("slow"), NamedJob("fast")
    work = MeasuredWork([slow, fast, NamedJob("next")])
    work.done(slow, 10.0, now=10.0)
    work.done(fast, 2.0, now=12.0)
    assert work.estimate({}, elapsed_s=12.0, now=12.0).remaining_s == pytest.approx(6.0)


def test_jobs_of_another_run_say_nothing_about_the_rate() -> None:
    jobs = [NamedJob(f"job {number}") for number in range(3)]
    work = MeasuredWork(jobs)
    work.done(jobs[0], 0.0, now=1.0)
    assert work.estimate({}, elapsed_s=1.0, now=1.0).remaining_s is None
    work.done(jobs[1], 5.0, now=6.0)
    assert work.estimate({}, elapsed_s=6.0, now=6.0).remaining_s == pytest.approx(5.0)
