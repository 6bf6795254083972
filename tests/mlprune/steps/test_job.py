"""Jobs: every one of them says what it costs."""

import importlib
import inspect
import pkgutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlprune.steps
from mlprune.models.placement.memory_estimate import Footprint, footprint
from mlprune.planning import Plan
from mlprune.steps.demonstrate.writing import set_sizes
from mlprune.steps.job import (
    SMALL_JOB_BYTES,
    SMALL_JOB_DISK_BYTES,
    ChainLoader,
    Job,
    JobCost,
    ModelRef,
    RecordJob,
    RecordKey,
    computed_parameters,
    make_identity,
)
from mlprune.store.store import Store


@dataclass(frozen=True)
class ForgottenJob(RecordJob):
    """A job whose author did not think of its cost."""

    step: ClassVar[str] = "observe"

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        return ()

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Do nothing."""


def final_classes(job_class: type[Job]) -> list[type[Job]]:
    """The classes below a class that no other class derives from."""
    children = job_class.__subclasses__()
    return [final for child in children for final in final_classes(child)] if children else [job_class]


def without_cost(job_classes: list[type[Job]]) -> list[type[Job]]:
    return [job_class for job_class in job_classes if "cost" in job_class.__abstractmethods__]


def test_every_job_of_the_package_has_a_cost_model() -> None:
    for module in pkgutil.walk_packages(mlprune.steps.__path__, "mlprune.steps."):
        importlib.import_module(module.name)
    jobs = [job_class for job_class in final_classes(Job) if job_class.__module__.startswith("mlprune.")]
    assert len(jobs) > 15
    assert without_cost(jobs) == []
    assert not any(inspect.isabstract(job_class) for job_class in jobs)


def test_a_job_without_a_cost_model_is_noticed_and_cannot_be_made() -> None:
    assert without_cost(final_classes(RecordJob)) == [ForgottenJob]
    with pytest.raises(TypeError, match="abstract"):
        ForgottenJob(make_identity("statistics", {}))  # type: ignore[abstract]


def test_parameters_of_an_id_name_the_device_and_tf32_only_if_they_are_not_the_default() -> None:
    cpu = ModelRef("model", "/model", "xglm", n_blocks=2, max_positions=64, dtype="float32")
    cuda = replace(cpu, device="cuda")
    assert computed_parameters(cpu, batch_tokens=16) == {"dtype": "float32", "batch_tokens": 16}
    assert computed_parameters(cuda) == {"dtype": "float32"}, "without batches nothing runs on the device"
    with_device = {"dtype": "float32", "batch_tokens": 16, "device": "cuda"}
    assert computed_parameters(cuda, batch_tokens=16) == with_device
    assert computed_parameters(replace(cuda, tf32=True), batch_tokens=16) == {**with_device, "tf32": True}


def test_every_job_of_every_method_costs_memory_and_disk_space(method_plan: Plan) -> None:
    sizes = footprint(Path(method_plan.model.path), method_plan.model.dtype)
    sets = set_sizes(method_plan.jobs)
    for job in method_plan.jobs:
        cost = job.cost(sizes, sets)
        assert cost.step == job.step
        assert cost.fixed_bytes >= SMALL_JOB_BYTES
        assert cost.disk_bytes > 0
        assert cost.runs_model == job.needs_chain
        assert cost.flops or not job.needs_chain


COUNTS = st.integers(0, 10**12)
LAYERS = st.lists(st.integers(1, 10**9), min_size=1, max_size=7).map(tuple)
MODELS = st.builds(
    lambda n_blocks, layers: Footprint(1, (1,) * n_blocks, 1, 1, 1, layers, 1, 1, 1, 1, 1), st.integers(1, 96), LAYERS
)


@given(MODELS, COUNTS, COUNTS, st.integers(1, 4))
def test_every_constructor_of_costs_gives_its_formula(sizes: Footprint, n: int, n_bytes: int, n_runs: int) -> None:
    n_weights = sum(sizes.prunable)
    assert JobCost.small("prune", n_bytes) == JobCost("prune", fixed_bytes=64 * 2**20 + n_bytes)
    of_masks = JobCost.per_block("prune", sizes, n_runs, further_bytes=n_bytes, writes_masks=True)
    expected = JobCost("prune", thread_bytes=n_runs * n_weights + n_bytes)
    assert of_masks == replace(expected, disk_bytes=len(sizes.blocks) * n_weights / 8)
    assert JobCost.per_block("prune", sizes, n_runs, further_bytes=n_bytes) == expected
    assert JobCost.dense_pass("observe", sizes, n, thread_bytes=n_bytes, n_runs=n_runs) == JobCost(
        "observe",
        flops=n_runs * (2.0 * n * (len(sizes.blocks) * n_weights)),
        n_passes=1,
        fixed_bytes=SMALL_JOB_BYTES,
        thread_bytes=n_bytes,
        device_thread_bytes=n_bytes,
        disk_bytes=SMALL_JOB_DISK_BYTES,
        n_tokens=n,
        runs_model=True,
    )
