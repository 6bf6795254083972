"""Pauses and retirement of workers that fail in a row."""

import pytest

from ray_jobs.workers.recovery import worker_health
from ray_jobs.workers.recovery.failures import Failure
from ray_jobs.workers.recovery.worker_health import FIRST_PAUSE_S, MAX_FAILURES, WorkerHealth

BUSY = Failure("DeviceError", "no room", True, False, worker_fault="busy device", at_load=True)
LOST = Failure("WorkerLostError", "died", True, False, worker_fault="lost process")
BROKEN = Failure("DeviceError", "illegal address", True, False, worker_fault="broken device")


class Clock:
    """A clock that tests set."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(worker_health, "time", made)
    return made


def test_each_failed_load_doubles_the_pause(clock: Clock) -> None:
    health = WorkerHealth(1)
    for pause_s in (FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S):
        assert health.failed(0, BUSY)
        assert health.seconds_to_next() == pause_s
        assert health.due() == []
        clock.now += pause_s
        assert health.due() == [0]
        assert (health.due(), health.seconds_to_next()) == ([], None)


def test_a_worker_with_a_broken_device_is_started_again_at_once(clock: Clock) -> None:
    health = WorkerHealth(1)
    assert health.failed(0, BROKEN)
    assert health.due() == [0]


def test_a_worker_that_dies_again_pauses_unless_it_is_the_last_one(clock: Clock) -> None:
    for n_workers, pauses in ((2, [0.0, FIRST_PAUSE_S, 2 * FIRST_PAUSE_S]), (1, [0.0, 0.0, 0.0])):
        health = WorkerHealth(n_workers)
        for pause_s in pauses:
            assert health.failed(0, LOST)
            assert health.seconds_to_next() == pause_s
            clock.now += pause_s
            assert health.due() == [0]


def test_a_worker_that_fails_too_often_in_a_row_is_retired_with_one_line(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    health = WorkerHealth(2)
    assert all(health.failed(1, BROKEN) for _ in range(MAX_FAILURES - 1))
    health.due()
    caplog.clear()
    assert not health.failed(1, BROKEN)
    (message,) = caplog.messages
    assert "worker-1" in message
    assert "illegal address" in message
    assert (health.due(), health.problem) == ([], None), "worker 0 is left"


def test_a_job_in_between_makes_a_worker_healthy(clock: Clock) -> None:
    health = WorkerHealth(1)
    for _ in range(3):
        assert all(health.failed(0, BROKEN) for _ in range(MAX_FAILURES - 1))
        health.succeeded(0)
    assert health.problem is None


def test_the_problem_of_a_pool_without_workers_names_the_last_failure(clock: Clock) -> None:
    health = WorkerHealth(2)
    assert not health.failed(0, BROKEN, is_final=True)
    assert health.problem is None
    assert not health.failed(1, BUSY, is_final=True)
    assert health.problem is not None
    assert "worker-1" in health.problem
    assert "no room" in health.problem


def test_a_pool_whose_healthy_workers_leave_has_a_problem(clock: Clock) -> None:
    health = WorkerHealth(1)
    health.add(1)
    assert not health.failed(0, BROKEN, is_final=True)
    assert health.problem is None
    health.remove(1)
    assert health.problem is not None
    assert "worker-0" in health.problem
