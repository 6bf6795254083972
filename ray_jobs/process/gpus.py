"""GPUs and the NVIDIA driver of this machine, read through NVML, which creates no CUDA context. Does not use Ray.

A CUDA context takes about half a GiB of its GPU for as long as the process lives, and the driver of a run computes
nothing on GPUs.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pynvml
import torch

from mlprune.planning.resources.node_capacity import Gpu
from mlprune.steps.inputs import BFLOAT16_CAPABILITY, has_bfloat16

Answer = TypeVar("Answer")

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Variable with the indices or UUIDs of the GPUs that a process may use."""
ORDER = "CUDA_DEVICE_ORDER"
"""Variable that says how CUDA counts; NVML counts as with `PCI_BUS_ID`, which `ray_jobs` sets by default."""


def visible_gpus() -> tuple[Gpu, ...]:
    """Measure the GPUs that this process may use.

    Without NVML (GPUs of AMD, parts of a GPU), torch measures them.
    """
    if not torch.cuda.is_available():
        return ()
    gpus = nvml_gpus(os.environ.get(VISIBLE))
    if gpus is not None and len(gpus) == torch.cuda.device_count():
        return gpus
    return tuple(
        Gpu(torch.cuda.mem_get_info(number)[0], torch.cuda.get_device_name(number), has_bfloat16(number))
        for number in range(torch.cuda.device_count())
    )


def assigned_gpus(n_gpus: int) -> tuple[Gpu, ...]:
    """Measure the GPUs of this machine that Ray assigns; a process without GPUs of its own may call this.

    If Ray assigns fewer than there are, those with the least free memory are returned.
    """
    for visible in (os.environ.get(VISIBLE), None):
        gpus = nvml_gpus(visible)
        if gpus is not None and len(gpus) >= n_gpus:
            return tuple(sorted(gpus, key=lambda gpu: gpu.memory_bytes)[:n_gpus])
    return visible_gpus()[:n_gpus]


def nvml_gpus(visible: str | None) -> tuple[Gpu, ...] | None:
    """Measure GPUs through NVML; None if it does not measure them, or if CUDA counts different GPUs in another order.

    Args:
        visible: value of `CUDA_VISIBLE_DEVICES`; None for all GPUs.
    """

    def measured(handles: Sequence[object]) -> tuple[Gpu, ...] | None:
        numbers = visible_numbers(visible, [pynvml.nvmlDeviceGetUUID(handle) for handle in handles])
        gpus = tuple(map(_measure, handles))
        is_ambiguous = os.environ.get(ORDER) != "PCI_BUS_ID" and len({gpu.name for gpu in gpus}) > 1
        if numbers is None or (is_ambiguous and not _are_uuids(visible)):
            return None
        return tuple(gpus[number] for number in numbers)

    return ask_nvml(measured)


def _are_uuids(visible: str | None) -> bool:
    return bool(visible) and not any(name.strip().isdecimal() for name in (visible or "").split(","))


def ask_nvml(question: Callable[[Sequence[object]], Answer]) -> Answer | None:
    """Return the answer of NVML to a question; None without a driver, or if it does not answer.

    Args:
        question: gets the handles of all GPUs, which are valid until it returns.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return question([pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())])
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def visible_numbers(visible: str | None, uuids: Sequence[str]) -> list[int] | None:
    """Return the GPUs that a value of `CUDA_VISIBLE_DEVICES` selects, as CUDA reads it: up to the first unknown one.

    Returns: None if the value selects parts of GPUs (MIG).
    """
    if visible is None:
        return list(range(len(uuids)))
    numbers: list[int] = []
    for name in visible.split(",") if visible else []:
        if name.strip().startswith("MIG"):
            return None
        number = _number_of(name.strip(), uuids)
        if number is None:
            break
        numbers.append(number)
    return numbers


def _number_of(name: str, uuids: Sequence[str]) -> int | None:
    if name.isdecimal():
        return int(name) if int(name) < len(uuids) else None
    return _only(number for number, uuid in enumerate(uuids) if name and uuid.startswith(name))


def _only(numbers: Iterable[int]) -> int | None:
    """Return the only number, or None if there is none or several."""
    found = list(numbers)
    return found[0] if len(found) == 1 else None


def _measure(handle: object) -> Gpu:
    capability = tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    return Gpu(
        int(pynvml.nvmlDeviceGetMemoryInfo(handle).free),
        str(pynvml.nvmlDeviceGetName(handle)),
        capability >= BFLOAT16_CAPABILITY,
    )


@dataclass(frozen=True)
class SeenGpu:
    """A GPU that the driver sees."""

    name: str
    total_bytes: int
    free_bytes: int
    capability: tuple[int, int]
    """Compute capability, such as (9, 0)."""


@dataclass(frozen=True)
class NvidiaDriver:
    """The driver of this machine."""

    version: str
    cuda: tuple[int, int]
    """Newest version of CUDA that it supports."""
    gpus: tuple[SeenGpu, ...]


def nvidia_driver() -> NvidiaDriver | None:
    """Ask the driver; None if there is none, or it does not answer."""
    return ask_nvml(_driver)


def _driver(handles: Sequence[object]) -> NvidiaDriver:
    cuda = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
    version = str(pynvml.nvmlSystemGetDriverVersion())
    return NvidiaDriver(version, (cuda // 1000, cuda % 1000 // 10), tuple(map(_seen, handles)))


def _seen(handle: object) -> SeenGpu:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return SeenGpu(str(pynvml.nvmlDeviceGetName(handle)), int(memory.total), int(memory.free), (int(major), int(minor)))
