"""GPUs of this machine, read through a pretended NVML."""

from types import SimpleNamespace

import pynvml
import pytest
import torch

from mlprune.plan.resources.node_capacity import Gpu
from ray_jobs.process import gpus
from ray_jobs.process.gpus import VISIBLE, assigned_gpus, nvml_gpus, visible_gpus, visible_numbers

UUIDS = ["GPU-aa11", "GPU-ab22", "GPU-cc33"]
GPUS = (Gpu(300, "large"), Gpu(100, "small", has_bfloat16=False), Gpu(200, "medium"))


class PretendedNvml:
    """A driver with three GPUs. It counts how often it was opened and closed."""

    NVMLError = pynvml.NVMLError

    def __init__(self, *, error: str = "") -> None:
        self.error = error
        self.n_open = 0

    def _require(self, function: str) -> None:
        if self.error == function:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlInit(self) -> None:
        self._require("init")
        self.n_open += 1

    def nvmlShutdown(self) -> None:
        self.n_open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(GPUS)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number

    def nvmlDeviceGetUUID(self, number: int) -> str:
        return UUIDS[number]

    def nvmlDeviceGetName(self, number: int) -> str:
        return GPUS[number].name

    def nvmlDeviceGetMemoryInfo(self, number: int) -> SimpleNamespace:
        self._require("memory")
        return SimpleNamespace(free=GPUS[number].memory_bytes)

    def nvmlDeviceGetCudaComputeCapability(self, number: int) -> list[int]:
        return [8, 6] if GPUS[number].has_bfloat16 else [7, 5]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> PretendedNvml:
    pretended = PretendedNvml()
    monkeypatch.setattr(gpus, "pynvml", pretended)
    monkeypatch.delenv(VISIBLE, raising=False)
    return pretended


def pretend_cuda(monkeypatch: pytest.MonkeyPatch, n: int) -> list[int]:
    """Pretend that torch sees some GPUs; returns the GPUs on which it is asked to open a context."""
    opened: list[int] = []

    def memory(number: int) -> tuple[int, int]:
        opened.append(number)
        return 50, 60

    monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"torch {number}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: (9, 0) if number else (7, 0))
    return opened


def test_all_gpus_are_measured_and_no_context_is_opened(nvml: PretendedNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = pretend_cuda(monkeypatch, 3)
    assert visible_gpus() == GPUS
    assert (opened, nvml.n_open) == ([], 0)


def test_only_the_visible_gpus_are_measured(nvml: PretendedNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cuda(monkeypatch, 2)
    monkeypatch.setenv(VISIBLE, "2,0")
    assert visible_gpus() == (GPUS[2], GPUS[0])


@pytest.mark.parametrize(
    ("visible", "numbers"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("1, 2", [1, 2]),
        ("0,7,1", [0]),
        ("GPU-cc,GPU-aa11", [2, 0]),
        ("GPU-a", []),
        ("MIG-GPU-aa11/1/0", None),
    ],
)
def test_visible_gpus_are_selected_as_cuda_does(visible: str | None, numbers: list[int] | None) -> None:
    assert visible_numbers(visible, UUIDS) == numbers


@pytest.mark.parametrize("error", ["init", "memory"])
def test_without_nvml_torch_measures_the_gpus(error: str, nvml: PretendedNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.error = error
    opened = pretend_cuda(monkeypatch, 2)
    assert nvml_gpus(None) is None
    assert visible_gpus() == (Gpu(50, "torch 0", has_bfloat16=False), Gpu(50, "torch 1"))
    assert (opened, nvml.n_open) == ([0, 1], 0)


def test_a_machine_without_gpus_has_none(nvml: PretendedNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cuda(monkeypatch, 0)
    assert visible_gpus() == ()


def test_a_process_without_gpus_measures_those_that_ray_assigns(
    nvml: PretendedNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_cuda(monkeypatch, 0)
    monkeypatch.setenv(VISIBLE, "")
    assert assigned_gpus(2) == (GPUS[1], GPUS[2]), "the two with the least memory"
    monkeypatch.setenv(VISIBLE, "0,2")
    assert assigned_gpus(2) == (GPUS[2], GPUS[0])
    nvml.error = "init"
    assert assigned_gpus(2) == ()
