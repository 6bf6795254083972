"""Estimating the remaining time of a run."""

import pytest

from ray_jobs.driver.eta import remaining_s


def test_each_step_is_weighted_by_the_time_of_its_finished_jobs() -> None:
    total, done, spent = (
        {"observe": 2, "evaluate": 10},
        {"observe": 1, "evaluate": 5},
        {"observe": 10.0, "evaluate": 5.0},
    )
    assert remaining_s(total, done, spent, elapsed_s=7.5) == pytest.approx(7.5)
    assert remaining_s({"observe": 2}, {"observe": 1}, {"observe": 4.0}, elapsed_s=2.0) == pytest.approx(2.0)


def test_there_is_no_estimate_until_each_step_has_finished_a_job_or_if_no_job_is_left() -> None:
    assert remaining_s({"observe": 2, "evaluate": 1}, {"observe": 1}, {"observe": 4.0}, elapsed_s=2.0) is None
    assert remaining_s({"observe": 1}, {"observe": 1}, {"observe": 4.0}, elapsed_s=2.0) is None
    assert remaining_s({"observe": 2, "compare": 9}, {"observe": 1}, {"observe": 4.0}, elapsed_s=2.0) == pytest.approx(
        2
    )
