"""How long a run may still take."""

import pytest

from ray_jobs.driver.eta import remaining_s


def test_time_left_weighs_each_step_by_what_its_jobs_took() -> None:
    total, done, spent = (
        {"observe": 2, "evaluate": 10},
        {"observe": 1, "evaluate": 5},
        {"observe": 10.0, "evaluate": 5.0},
    )
    assert remaining_s(total, done, spent, elapsed_s=7.5) == pytest.approx(7.5)
    assert remaining_s({"observe": 2}, {"observe": 1}, {"observe": 4.0}, elapsed_s=2.0) == pytest.approx(2.0)


def test_time_left_is_not_known_before_each_step_has_ended_a_job_nor_when_nothing_is_left() -> None:
    assert remaining_s({"observe": 2, "evaluate": 1}, {"observe": 1}, {"observe": 4.0}, elapsed_s=2.0) is None
    assert remaining_s({"observe": 1}, {"observe": 1}, {"observe": 4.0}, elapsed_s=2.0) is None
    assert remaining_s({"observe": 2, "compare": 9}, {"observe": 1}, {"observe": 4.0}, elapsed_s=2.0) == pytest.approx(
        2
    )
