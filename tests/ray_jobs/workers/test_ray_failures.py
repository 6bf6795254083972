"""What Ray says of a dead process, and what the kernel counts, as errors of ours. Ray is not started."""

from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError

from mlprune import errors
from ray_jobs.workers.ray_failures import FailureClassifier, kernel_kills


@pytest.fixture
def vmstat(tmp_path: Path) -> Path:
    path = tmp_path / "vmstat"
    path.write_text("pgfault 12\noom_kill 3\n")
    return path


def test_a_process_that_died_is_a_lost_worker(vmstat: Path) -> None:
    error = FailureClassifier(vmstat).explained(ActorDiedError(), who="a worker", worker=1)
    assert isinstance(error, errors.WorkerLostError)
    assert str(error).startswith("a worker died [worker=1, ")


def test_one_that_ray_killed_for_its_memory_is_out_of_memory(vmstat: Path) -> None:
    error = FailureClassifier(vmstat).explained(OutOfMemoryError("the node is low on memory"), who="a shard")
    assert isinstance(error, errors.OutOfMemoryError)
    assert "a shard was killed for its memory" in str(error)


def test_one_that_the_kernel_killed_for_its_memory_is_out_of_memory_and_only_that_one(vmstat: Path) -> None:
    losses = FailureClassifier(vmstat)
    vmstat.write_text("oom_kill 4\n")
    kinds = [type(losses.explained(ActorDiedError(), who="a worker")) for _ in range(2)]
    assert kinds == [errors.OutOfMemoryError, errors.WorkerLostError]


def test_what_a_process_raised_is_that_error(vmstat: Path) -> None:
    raised = errors.ModelError("no such file")
    wrapped = RayTaskError("call", "a trace", raised, proctitle="shard", pid=1, ip="127.0.0.1")
    assert FailureClassifier(vmstat).explained(wrapped, who="a shard") is raised


def test_a_loss_that_a_process_met_with_is_a_loss(vmstat: Path) -> None:
    wrapped = RayTaskError("call", "a trace", ActorDiedError(), proctitle="shard", pid=1, ip="127.0.0.1")
    assert isinstance(FailureClassifier(vmstat).explained(wrapped, who="a shard"), errors.WorkerLostError)


def test_without_the_kernels_count_nothing_is_known(tmp_path: Path, vmstat: Path) -> None:
    assert kernel_kills(tmp_path / "nowhere") == 0
    assert kernel_kills(vmstat) == 3
