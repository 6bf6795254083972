"""Kinds of accelerators: names of users and of drivers, and stated rates."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mlprune.errors import BadInputError
from mlprune.plan.resources.node_capacity import Gpu, Node
from mlprune.plan.resources.rates import (
    GPU_KINDS,
    measure_linear_rate,
    measure_rates,
    measure_read_rate,
    named_kind,
    recognised_kind,
    share_of_peak,
    stated_gpu_rates,
)
from mlprune.steps.job import ModelRef

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

    monkeypatch.setattr("mlprune.plan.resources.rates.quick_linear", layer)
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
