"""Remaining time of a run. In simulated runs on two workers it is within a factor of two of the truth."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from mlprune.processes.job_parts import JobParts
from mlprune.processes.remaining_time import MeasuredWork, PlannedKind
from ray_jobs.driver.job_units import JobUnits, kind_of
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
        units = JobUnits({step: mean}, flops)
        work = MeasuredWork(units.with_jobs({}, [job for job, _, _ in run]), units.flops)
        for job, begin, ended in run:
            if ended <= now:
                work.done(kind_of(job), units.of(job), elapsed_s=ended - begin, ended_at=ended)
        running = [
            ("masks", JobParts(step, "batch", 0, 1, 0.0, current_s=now - begin))
            for _, begin, ended in run
            if begin <= now < ended
        ]
        left_s = work.estimate(running, elapsed_s=now, now=now).remaining_s
        assert left_s is not None
        assert 0.5 <= left_s / (end - now) <= 2.0, (now, left_s, end - now)


def work_of(flops: Mapping[str, float], **kinds: tuple[int, float]) -> MeasuredWork:
    """Work with planned jobs: step -> number of jobs, and units of each."""
    return MeasuredWork({f"{step}/x": PlannedKind(n, n * units) for step, (n, units) in kinds.items()}, flops)


def left_s(work: MeasuredWork, *running: JobParts, now: float) -> float:
    """The remaining seconds."""
    found = work.estimate([("x", parts) for parts in running], elapsed_s=now, now=now).remaining_s
    assert found is not None
    return found


def test_a_kind_of_job_has_its_own_rate() -> None:
    work = work_of({"sweep": 1e12, "evaluate": 1e12}, sweep=(2, 1.0), evaluate=(10, 1.0))
    work.done("sweep/x", 1.0, elapsed_s=10.0, ended_at=10.0)
    for end in range(11, 16):
        work.done("evaluate/x", 1.0, elapsed_s=1.0, ended_at=end)
    assert left_s(work, now=15.0) == pytest.approx(10.0 + 5.0)


def test_jobs_of_another_run_say_nothing_about_the_rate() -> None:
    work = work_of({"prune": 1e12}, prune=(3, 1.0))
    work.done("prune/x", 1.0, elapsed_s=0.0, ended_at=1.0)
    assert work.estimate(elapsed_s=1.0, now=1.0).remaining_s is None
    work.done("prune/x", 1.0, elapsed_s=5.0, ended_at=6.0)
    assert left_s(work, now=6.0) == pytest.approx(5.0)


def test_there_is_no_estimate_before_a_long_job_has_finished_or_if_none_is_left() -> None:
    work = work_of({"sweep": 1e12}, sweep=(1, 1.0), items=(1, 0.1))
    work.done("items/x", 0.1, elapsed_s=4.0, ended_at=4.0)
    assert work.estimate(elapsed_s=4.0, now=4.0).remaining_s is None
    work.done("sweep/x", 1.0, elapsed_s=4.0, ended_at=8.0)
    assert (work.estimate(elapsed_s=8.0, now=8.0).remaining_s, work.estimate(elapsed_s=8.0, now=8.0).share) == (None, 1)


def test_a_long_kind_of_which_nothing_is_finished_has_the_rate_of_the_others() -> None:
    work = work_of({"sweep": 20e12, "evaluate": 2e12}, sweep=(1, 1.0), evaluate=(1, 1.0))
    work.done("evaluate/x", 1.0, elapsed_s=10.0, ended_at=10.0)
    assert left_s(work, now=10.0) == pytest.approx(100.0)
    begun = JobParts("sweep", "block", 0, 18, 0.0, part_share=1 / 18, current_s=30.0)
    assert left_s(work, begun, now=40.0) == pytest.approx(100 - 30)


def test_short_jobs_of_which_none_is_finished_take_longer_on_a_busy_machine() -> None:
    lefts = []
    for elapsed_s in (1.0, 5.0):
        work = work_of({"evaluate": 1e12}, evaluate=(1, 1.0), compare=(100, 0.2))
        work.done("evaluate/x", 1.0, elapsed_s=elapsed_s, ended_at=elapsed_s, cpu_s=1.0)
        lefts.append(left_s(work, now=elapsed_s))
    assert lefts == pytest.approx([20.0, 100.0])


def test_the_finished_kinds_of_a_step_scale_the_planned_work_of_the_others() -> None:
    work = work_of({}, compare=(2, 0.2), items=(1, 0.02))
    work.planned = {**work.planned, "compare/y": PlannedKind(10, 0.1)}
    for end in (1.0, 2.0):
        work.done("compare/x", 0.2, elapsed_s=1.0, ended_at=end)
    work.done("items/x", 0.02, elapsed_s=0.1, ended_at=2.1)
    assert left_s(work, now=2.1) == pytest.approx(0.1 * 2.0 / 0.4)


def test_the_first_job_of_a_short_kind_which_also_compiles_code_counts_only_half() -> None:
    work = work_of({}, compare=(101, 0.2))
    work.done("compare/x", 0.2, elapsed_s=6.2, ended_at=6.2)
    assert left_s(work, now=6.2) == pytest.approx(100 * (6.2 + 0.2) / 2)


HALF = JobParts("sweep", "block", 9, 18, 0.5, part_share=1 / 18, spent_s=90.0, other_s=10.0)
"""Half of a sweep, in 90 s after 10 s in which the model was loaded."""
SWEEP = {"sweep": 1e12}


def test_finished_parts_of_running_jobs_count() -> None:
    assert left_s(work_of(SWEEP, sweep=(1, 1.0)), HALF, now=100.0) == pytest.approx(90)
    assert left_s(work_of(SWEEP, sweep=(3, 1.0)), HALF, now=100.0) == pytest.approx(90 + 2 * 180)
    assert left_s(work_of(SWEEP, sweep=(1, 1.0)), HALF.later(4), now=104.0) == pytest.approx(86)
    slow = replace(HALF, n_done=6, share=1 / 3)
    assert left_s(work_of(SWEEP, sweep=(2, 1.0)), HALF, slow, now=100.0) == pytest.approx(180)


def test_a_resumed_run_begins_at_the_share_that_an_earlier_run_finished() -> None:
    flops = {"sweep": 18e12, "evaluate": 1e12}
    resumed = JobParts("sweep", "block", 9, 18, 0.5, found=0.5, part_share=1 / 18, other_s=5.0)
    work = work_of(flops, sweep=(1, 1.0), evaluate=(2, 1.0), compare=(10, 0.2))
    assert work.estimate([("x", resumed)], elapsed_s=5, now=5).share == pytest.approx(9 / 20)
    later = replace(resumed, n_done=10, share=10 / 18, spent_s=10.0)
    found = work_of(flops, sweep=(1, 1.0)).estimate([("x", later)], elapsed_s=15, now=15)
    assert found.remaining_s == pytest.approx(80)
    assert found.share == pytest.approx((15 + 90) / (15 + 90 + 80))
