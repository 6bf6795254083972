"""Classifying dead processes by Ray's errors and the kernel's counters. Ray is not started."""

from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError, RayTaskError

from mlprune import errors
from ray_jobs.workers.ray_failures import FailureClassifier, count_kernel_kills


@pytest.fixture
def vmstat(tmp_path: Path) -> Path:
    path = tmp_path / "vmstat"
    path.write_text("pgfault 12\noom_kill 3\n")
    return path


def test_a_process_that_died_is_a_lost_worker(vmstat: Path) -> None:
    error = FailureClassifier(vmstat).classify(ActorDiedError(), who="a worker", worker=1)
    assert isinstance(error, errors.WorkerLostError)
    assert str(error).startswith("a worker died [worker=1, ")


def test_a_process_that_ray_killed_for_its_memory_is_out_of_memory(vmstat: Path) -> None:
    error = FailureClassifier(vmstat).classify(OutOfMemoryError("the node is low on memory"), who="a shard")
    assert isinstance(error, errors.OutOfMemoryError)
    assert "a shard was killed for its memory" in str(error)


def test_only_the_first_death_after_a_kernel_kill_is_out_of_memory(vmstat: Path) -> None:
    classifier = FailureClassifier(vmstat)
    vmstat.write_text("oom_kill 4\n")
    kinds = [type(classifier.classify(ActorDiedError(), who="a worker")) for _ in range(2)]
    assert kinds == [errors.OutOfMemoryError, errors.WorkerLostError]


def test_an_error_raised_in_the_process_is_returned_itself(vmstat: Path) -> None:
    raised = errors.ModelError("no such file")
    wrapped = RayTaskError("call", "a trace", raised, proctitle="shard", pid=1, ip="127.0.0.1")
    assert FailureClassifier(vmstat).classify(wrapped, who="a shard") is raised


def test_a_lost_process_reported_by_another_process_is_a_lost_worker(vmstat: Path) -> None:
    wrapped = RayTaskError("call", "a trace", ActorDiedError(), proctitle="shard", pid=1, ip="127.0.0.1")
    assert isinstance(FailureClassifier(vmstat).classify(wrapped, who="a shard"), errors.WorkerLostError)


@pytest.mark.parametrize(
    ("last_line", "kind"),
    [("OSError: no such file", errors.WorkerLostError), ("RuntimeError: can't allocate memory", RuntimeError)],
)
def test_an_actor_that_failed_to_start_is_named_with_the_last_line_of_its_traceback(
    last_line: str, kind: type, vmstat: Path
) -> None:
    died = RayActorError(error_msg=f"The actor died because of an error raised\n  File ...\n{last_line}\n")
    died._actor_init_failed = True
    error = FailureClassifier(vmstat).classify(died, who="a shard", span=1)
    assert type(error) is kind
    assert last_line in str(error)


def test_without_the_kernels_counter_the_count_is_zero(tmp_path: Path, vmstat: Path) -> None:
    assert count_kernel_kills(tmp_path / "nowhere") == 0
    assert count_kernel_kills(vmstat) == 3
