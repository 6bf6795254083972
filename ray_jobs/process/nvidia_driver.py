"""The NVIDIA driver and the GPUs that it sees, whether torch can use them or not, read through NVML."""

from collections.abc import Sequence
from dataclasses import dataclass

import pynvml

from ray_jobs.process.gpus import ask_nvml


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
