"""Chains of shards on Ray, failures of Ray, and metrics of a run."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError, RayTaskError
from ray.util import metrics

from mlprune import errors
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.local_chain import load_shard, local_chain
from mlprune.models.messages import TokenBatch
from mlprune.models.placement.budget import GroupLimit
from mlprune.models.shard import Shard
from mlprune.planning.resources.node_capacity import GROUPS_IN_FLIGHT, OFFLOADED_GROUPS_IN_FLIGHT
from mlprune.steps.job import Job
from ray_jobs.driver.run_state import RunState
from ray_jobs.workers import ray_failures
from ray_jobs.workers.ray_chain import RayChain
from ray_jobs.workers.ray_failures import FailureClassifier, count_kernel_kills
from ray_jobs.workers.recovery import Failure
from ray_jobs.workers.run_metrics import METRICS, RUN_TAGS, RayMetrics
from tests.ray_jobs.driver.scripted_workers import LOST, OUT_OF_MEMORY, BatchedJob, NamedJob, outcome_of
from tests.ray_jobs.workers.fake_ray import Actor, get
from tests.tiny_models import save_tiny_model


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_failures.ray, "get", get)


@dataclass
class CallingShard:
    """The part of a shard actor that a chain uses, around a shard in this process."""

    shard: Any

    def call(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self.shard, *args, **kwargs)


def batches(n: int) -> list[TokenBatch]:
    mask = torch.ones(2, 5, dtype=torch.bool)
    return [TokenBatch(torch.full((2, 5), 3 + number), mask, mask) for number in range(n)]


def test_results_and_their_order_are_those_of_a_chain_in_one_process(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path, "gpt2", seed=4)
    spans = (range(1), range(1, 3))
    actors = [Actor(CallingShard(load_shard(folder, span, n_blocks=3, dtype="float32"))) for span in spans]
    chain = RayChain(actors, spans, 3, threads=2)
    results = list(chain.stream(StatisticsVisitor, batches(5)))
    expected = list(local_chain(folder).stream(StatisticsVisitor, batches(5)))
    assert len(results) == len(expected) == 5
    for result, reference in zip(results, expected, strict=True):
        assert result.sums.keys() == reference.sums.keys()
        assert all(torch.equal(result.sums[key], reference.sums[key]) for key in reference.sums)


class CountingShard:
    """A shard of one block that counts the calls of `finish` and the visitors in each."""

    def __init__(self, limit: GroupLimit | None = None) -> None:
        self.limit = limit
        self.group_sizes: list[int] = []

    def call(self, method: Any, *args: Any) -> Any:
        if method is Shard.group_limit:
            return self.limit
        if method is Shard.finish:
            self.group_sizes.append(len(args[0]))
            return [message.visitor for message in args[0]]
        return args


class FakeVisitor:
    """A visitor of one byte, which is its own result."""

    def __init__(self, item: int) -> None:
        self.item = item

    def leave_shard(self) -> None:
        pass

    def waiting_bytes(self, _: GroupLimit) -> int:
        return 1


def items_drawn_before_the_first_result(chain: RayChain) -> int:
    n_drawn = 0

    def items() -> Iterator[int]:
        nonlocal n_drawn
        for number in range(1000):
            n_drawn += 1
            yield number

    next(iter(chain.stream(FakeVisitor, items())))  # type: ignore[arg-type, type-var]
    return n_drawn


@pytest.mark.parametrize("threads", [1, 3])
def test_a_group_has_a_batch_per_thread_and_few_groups_are_in_flight(threads: int) -> None:
    shard = CountingShard()
    chain = RayChain([Actor(shard)], (range(1),), 1, threads=threads)
    assert items_drawn_before_the_first_result(chain) == GROUPS_IN_FLIGHT * threads
    assert shard.group_sizes == [threads] * GROUPS_IN_FLIGHT


def test_groups_of_offloaded_blocks_are_bounded_by_their_size() -> None:
    limit = GroupLimit(per_token=1, per_row=1, per_input=1, n_bytes=5)
    shard = CountingShard(limit)
    chain = RayChain([Actor(shard)], (range(1),), 1, threads=1)
    items_drawn_before_the_first_result(chain)
    assert shard.group_sizes == [5] * OFFLOADED_GROUPS_IN_FLIGHT


def test_a_call_reaches_the_shard_that_holds_the_block() -> None:
    shards = [CountingShard(), CountingShard()]
    chain = RayChain([Actor(shard) for shard in shards], (range(2), range(2, 3)), 3)

    def own(shard: Any) -> Any:
        return shard

    for shard in shards:
        shard.call = partial(lambda this, method: method(this), shard)  # type: ignore[method-assign]
    assert [chain.on_block(block, own) for block in range(3)] == [shards[0], shards[0], shards[1]]
    assert chain.everywhere(own) == shards


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


JOB = BatchedJob("a")
MADE: dict[str, "Recorded"] = {}


class Recorded:
    """A metric that adds up, or keeps, its values by tags."""

    def __init__(self, name: str, *, description: str, tag_keys: tuple[str, ...]) -> None:
        assert description
        self.tag_keys = tag_keys
        self.values: dict[tuple[str, ...], float] = defaultdict(float)
        MADE[name] = self

    def set_default_tags(self, tags: dict[str, str]) -> None:
        assert tags == {"run": "r1", "recipe": "small"}

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0
        assert {*RUN_TAGS, *tags} == {*self.tag_keys}
        self.values[tuple(tags.values())] += value

    def set(self, value: float) -> None:
        self.values[()] = value


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> RayMetrics:
    MADE.clear()
    for kind in ("Counter", "Gauge"):
        monkeypatch.setattr(metrics, kind, Recorded)
    return RayMetrics("r1", "small", n_workers=2)


def values() -> dict[str, dict[tuple[str, ...], float]]:
    return {name: dict(metric.values) for name, metric in MADE.items() if metric.values}


def count(counters: RayMetrics, job: Job, failure: Failure | None, *, status: str) -> None:
    """Count an attempt, with the retry that a run decides on."""
    retry = None if failure is None else RunState().next_attempt(job, failure)
    counters.count_attempt(job, outcome_of(job, failure), status=status, retry=retry)


def test_attempts_are_counted_by_step_with_their_time_and_retries(recorded: RayMetrics) -> None:
    assert MADE.keys() == METRICS.keys()
    for failure, status in ((LOST, "lost"), (OUT_OF_MEMORY, "lost"), (None, "done")):
        count(recorded, JOB, failure, status=status)
    assert values() == {
        "mlprune_attempts": {("prune", "lost"): 2, ("prune", "done"): 1},
        "mlprune_job_seconds": {("prune",): 1.5},
        "mlprune_retries": {("prune",): 2},
        "mlprune_halvings": {("prune",): 1},
        "mlprune_workers": {(): 2},
    }


def test_the_queue_and_the_number_of_workers_are_set(recorded: RayMetrics) -> None:
    recorded.set_load(n_waiting=7, n_running=2)
    recorded.set_workers(3)
    assert values() == {"mlprune_jobs_waiting": {(): 7}, "mlprune_jobs_running": {(): 2}, "mlprune_workers": {(): 3}}


def test_only_a_job_with_batches_that_ran_out_of_memory_is_halved(recorded: RayMetrics) -> None:
    def is_halved(job: Job, failure: Failure | None = None) -> bool:
        before = values().get("mlprune_halvings", {})
        count(recorded, job, failure, status="done" if failure is None else "lost")
        return values().get("mlprune_halvings", {}) != before

    assert is_halved(JOB, OUT_OF_MEMORY)
    assert not is_halved(JOB, LOST)
    assert not is_halved(NamedJob("a"), OUT_OF_MEMORY)
    assert not is_halved(JOB)
