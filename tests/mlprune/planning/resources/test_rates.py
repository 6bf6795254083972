"""Kinds of accelerators, rates, memory of actors and costs of searches."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.errors import BadInputError
from mlprune.planning import Plan
from mlprune.planning.resources.actor_memory import (
    costs_of,
    makespan,
    most_passes,
    peak_bytes,
    peak_device_bytes,
    peak_host_bytes,
)
from mlprune.planning.resources.estimate import Needs, needs_of, trials_seconds
from mlprune.planning.resources.node_capacity import Gpu, Node, Pool
from mlprune.planning.resources.rates import (
    GPU_KINDS,
    Rates,
    measure_linear_rate,
    measure_rates,
    measure_read_rate,
    named_kind,
    recognised_kind,
    share_of_peak,
    stated_gpu_rates,
)
from mlprune.steps.job import SMALL_JOB_BYTES, JobCost, ModelRef
from mlprune.steps.trials_cost import TrialsCost
from tests.mlprune.steps.job_costs import sizes_of
from tests.search_recipes import search_recipe
from tests.tiny_recipes import plan_of, write_recipe

GIB = 2**30


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("A100-80GB", "A100-80GB"),
        ("a100 80gb", "A100-80GB"),
        ("NVIDIA H100", "H100-80GB"),
        ("rtx 4090", "RTX4090"),
        ("AMD Instinct MI300X", "MI300X"),
        ("Tesla V100-16GB", "V100-16GB"),
    ],
)
def test_a_kind_is_named_in_any_case_and_with_any_separators(name: str, kind: str) -> None:
    assert named_kind(name) == kind


def test_a_model_with_several_memories_needs_its_memory_in_the_name() -> None:
    with pytest.raises(BadInputError) as caught:
        named_kind("A100")
    assert set(str(caught.value.context["nearest"]).split(", ")) == {"A100-40GB", "A100-80GB"}


@pytest.mark.parametrize(
    ("name", "gib", "kind"),
    [
        ("NVIDIA A100-SXM4-80GB", 78, "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", 39, "A100-40GB"),
        ("NVIDIA H100 80GB HBM3", 60, "H100-80GB"),
        ("NVIDIA A10", 20, "A10"),
        ("NVIDIA A10G", 20, None),
        ("NVIDIA L40S", 40, "L40S"),
        ("NVIDIA GeForce RTX 4090", 20, "RTX4090"),
        ("AMD Instinct MI250X", 60, "MI250"),
        ("A100-40GB", 80, "A100-40GB"),
        ("", 80, None),
    ],
)
def test_the_name_of_a_driver_is_recognised_with_its_memory(name: str, gib: int, kind: str | None) -> None:
    assert recognised_kind(name, gib * GIB) == kind


def test_every_kind_has_plausible_rates() -> None:
    for kind in GPU_KINDS.values():
        assert kind.half >= kind.tf32 >= kind.float32 > 1e13
        assert 14 * GIB < kind.memory_bytes < 200 * GIB
        assert kind.peak("float32", tf32=True) == kind.tf32
        assert kind.peak("bfloat16") == (kind.half if kind.has_bfloat16 else kind.float32)
        assert kind.rate("float16", 512) == pytest.approx(0.6 * kind.half)


def test_the_share_of_the_peak_grows_with_the_rows() -> None:
    assert [share_of_peak(n_rows) for n_rows in (80, 160, 336, 512, 9_999)] == pytest.approx([0.2, 0.4, 0.5, 0.6, 0.6])


MODEL = ModelRef("m" * 20, "model", "xglm", 4, None, "bfloat16", "cuda")


def node(*names: str) -> Node:
    return Node(8.0, 2**36, tuple(Gpu(GPU_KINDS[name].memory_bytes if name else 2**34, name) for name in names))


def test_the_rates_of_this_machine_are_measured(tiny_inputs: Path) -> None:
    model = replace(MODEL, path=str(tiny_inputs / "model"), dtype="float32", device="cpu")
    found = measure_rates(model, n_threads=2)
    assert 1e8 < found.thread_flops < 1e13
    assert found.file_bytes > 1e3
    assert found.gpu is None


def test_layers_are_measured_as_they_run_in_threads_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    n_torch_threads, shapes = [], []

    def layer(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        n_torch_threads.append(torch.get_num_threads())
        shapes.append((*states.shape, weight.shape[0]))
        return states

    monkeypatch.setattr("mlprune.planning.resources.rates.quick_linear", layer)
    before = torch.get_num_threads()
    assert measure_linear_rate((2, 3, 4), torch.float32, n_threads=3, seconds=0.0) > 0
    assert (n_torch_threads, shapes) == ([1] * 6, [(2, 3, 4)] * 6)
    assert torch.get_num_threads() == before


def test_the_slowest_kind_of_the_nodes_is_stated() -> None:
    found = stated_gpu_rates([node("H100-80GB"), node("A100-80GB", "A100-80GB"), node()], MODEL, n_rows=8192)
    assert found is not None
    assert found.flops == pytest.approx(0.6 * 312e12)
    assert found.weight_bytes == GPU_KINDS["A100-80GB"].read_rate
    assert all(part in found.source for part in ("60%", "312", "A100-80GB", "bfloat16"))


def test_the_dtype_and_the_rows_change_the_stated_rate() -> None:
    def flops(model: ModelRef, n_rows: int) -> float:
        found = stated_gpu_rates([node("A100-80GB")], model, n_rows=n_rows)
        assert found is not None
        return found.flops

    assert flops(MODEL, 160) == pytest.approx(0.4 * 312e12)
    assert flops(replace(MODEL, dtype="float32"), 512) == pytest.approx(0.6 * 19.5e12)
    assert flops(replace(MODEL, dtype="float32", tf32=True), 512) == pytest.approx(0.6 * 156e12)


def test_an_unknown_kind_makes_the_rate_unknown() -> None:
    assert stated_gpu_rates([node("A100-80GB"), node("")], MODEL, n_rows=512) is None
    assert stated_gpu_rates([node()], MODEL, n_rows=512) is None


def test_an_empty_file_has_no_read_rate(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert measure_read_rate(tmp_path / "empty") == 0


def test_every_job_of_a_plan_has_a_cost_in_the_order_of_the_jobs(method_plan: Plan) -> None:
    costs = costs_of(method_plan, sizes_of(method_plan), method_plan.jobs)
    assert [cost.step for cost in costs] == [job.step for job in method_plan.jobs]


def test_peak_memory_is_that_of_the_largest_job_which_depends_on_the_threads() -> None:
    steady, growing = JobCost("a", fixed_bytes=100), JobCost("b", fixed_bytes=40, thread_bytes=40)
    assert [peak_bytes((steady, growing), n) for n in (1, 2)] == [100, 120]
    assert peak_bytes((), 1) == SMALL_JOB_BYTES


def test_a_job_on_accelerators_needs_main_memory_for_the_rest_and_for_transfers() -> None:
    runs_model = JobCost(
        "a",
        fixed_bytes=100,
        thread_bytes=40,
        device_fixed_bytes=60,
        device_thread_bytes=30,
        transfer_bytes=5,
        runs_model=True,
    )
    assert (runs_model.memory_bytes(2), runs_model.device_bytes(2), runs_model.host_bytes(2)) == (180, 120, 65)
    without = JobCost("b", fixed_bytes=10, thread_bytes=10)
    assert peak_host_bytes((runs_model, without), 3, model_threads=2) == 65
    assert peak_host_bytes((runs_model, without), 8, model_threads=2) == 90
    assert peak_bytes((runs_model, without), 8, model_threads=1) == 140
    assert peak_device_bytes((runs_model, without), 2) == 120
    assert peak_device_bytes((without,), 2) == 0


def test_what_runs_with_the_model_is_on_the_accelerator(method_plan: Plan) -> None:
    costs = costs_of(method_plan, sizes_of(method_plan), method_plan.jobs)
    assert {cost.runs_model for cost in costs} == {True, False}
    for cost in costs:
        assert (cost.device_bytes(2) > 0) == cost.runs_model
        assert cost.device_bytes(2) <= cost.memory_bytes(2)
        assert cost.device_bytes(2) - cost.device_bytes(1) == (cost.thread_bytes if cost.runs_model else 0)


def test_workers_share_the_jobs_of_a_step_but_not_a_single_job() -> None:
    costs = [JobCost("observe", flops=4.0), JobCost("observe", flops=2.0), JobCost("evaluate", flops=3.0, n_passes=7.0)]
    assert [makespan(costs, n) for n in (1, 2, 3)] == [9.0, 7.0, 7.0]
    assert most_passes(costs, 1) == 7.0
    assert makespan([], 2) == 0


def test_a_shared_job_is_divided_but_every_worker_reads_all_weights_for_it() -> None:
    costs = [JobCost("sweep", flops=6.0, n_passes=1.0, is_shared=True), JobCost("sweep", flops=2.0, n_passes=1.0)]
    assert [makespan(costs, n) for n in (1, 2, 4, 8)] == [8.0, 4.0, 2.0, 2.0]
    assert [most_passes(costs, n) for n in (1, 2, 8)] == [2.0, 1.0, 1.0]


def test_the_jobs_that_workers_share_are_those_of_the_plan_that_say_so(method_plan: Plan) -> None:
    costs = costs_of(method_plan, sizes_of(method_plan), method_plan.jobs)
    assert [cost.is_shared for cost in costs] == [job.shares_replicas for job in method_plan.jobs]
    assert {cost.step for cost in costs if cost.is_shared} == {"observe", "sweep"}


RATES = Rates(1e9, 1e8)


def planned(folder: Path, **changes: Any) -> Plan:
    return plan_of(write_recipe(folder, search_recipe(**changes), name="costed.yaml"))


@pytest.fixture(scope="module")
def plan(tiny_inputs: Path) -> Plan:
    return planned(tiny_inputs)


@pytest.fixture(scope="module")
def needs(plan: Plan) -> Needs:
    return needs_of(plan, plan.jobs)


def pool_of(needs: Needs, n_workers: int) -> Pool:
    return replace(needs.pool([Node(2, 2**34)]), n_workers=n_workers)


def test_batches_run_one_after_another_and_their_trials_on_all_workers(needs: Needs) -> None:
    def seconds(*batches: int, n_workers: int = 1, sweeps: tuple[JobCost, ...] = ()) -> float:
        rung = TrialsCost(None, batches, 10, JobCost("evaluate", flops=1e9), sweeps)
        threads = pool_of(needs, n_workers).threads
        got = trials_seconds(rung, needs, pool=pool_of(needs, n_workers), rates=RATES)
        assert got is not None
        return round(got * threads)

    assert seconds(8, 8, 2) == 1 + 18  # the dense model is evaluated once
    assert seconds(7, 8, n_workers=8) == 2
    assert seconds(1, 1, n_workers=8) == 2
    assert seconds(4, sweeps=(JobCost("sweep", flops=2e9), JobCost("sweep"))) == 5 + 4
