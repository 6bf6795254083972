"""Examination of the GPUs: driver, build of torch, visibility, memory, compute capability and dtypes."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlprune.plan.pool import GIB
from mlprune.steps.devices import BFLOAT16_CAPABILITY
from ray_jobs.doctor.findings import Finding, missing, ok, warning
from ray_jobs.process.gpus import VISIBLE
from ray_jobs.process.nvidia_driver import NvidiaDriver, SeenGpu, nvidia_driver

SUBJECT = "gpu"
LEAST_FREE_SHARE = 0.5
"""Share of a GPU's memory below which there is a warning: another process uses it."""
_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)[a-z]?")


@dataclass(frozen=True)
class TorchBuild:
    """The installed torch."""

    version: str
    cuda: str | None
    """Version of CUDA that it is built for; None for a build for CPUs."""
    architectures: tuple[str, ...]
    """Those that it has kernels for, such as `sm_90`."""
    n_usable: int
    """GPUs that it can use in this process."""


def torch_build() -> TorchBuild:
    """Describe the installed torch; no CUDA context is created."""
    import torch  # noqa: PLC0415 - takes a second

    architectures = tuple(torch.cuda.get_arch_list()) if torch.version.cuda else ()
    return TorchBuild(torch.__version__, torch.version.cuda, architectures, torch.cuda.device_count())


def examine_gpus() -> list[Finding]:
    """Examine the GPUs of this machine."""
    return list(gpu_findings(nvidia_driver(), torch_build(), visible=os.environ.get(VISIBLE)))


def gpu_findings(driver: NvidiaDriver | None, build: TorchBuild, *, visible: str | None) -> Iterator[Finding]:
    """Judge the driver, the build of torch and every GPU.

    Args:
        visible: value of `CUDA_VISIBLE_DEVICES`.
    """
    if driver is None or not driver.gpus:
        yield ok(SUBJECT, f"no NVIDIA GPU: models run on the CPU (torch {build.version})")
        return
    yield from _build_findings(driver, build, visible=visible)
    for number, gpu in enumerate(driver.gpus):
        yield from _card_findings(number, gpu, build)


def _build_findings(driver: NvidiaDriver, build: TorchBuild, *, visible: str | None) -> Iterator[Finding]:
    newest = ".".join(map(str, driver.cuda))
    text = f"torch {build.version} for CUDA {build.cuda}, driver {driver.version} up to CUDA {newest}"
    if build.cuda is None:
        yield missing(
            SUBJECT,
            f"torch {build.version} is built for CPUs",
            "pip install torch, from the index for your CUDA: https://pytorch.org/get-started/locally",
        )
    elif int(build.cuda.partition(".")[0]) > driver.cuda[0]:
        yield missing(
            SUBJECT,
            f"the driver is too old: {text}",
            f"update the NVIDIA driver, or install torch for CUDA {driver.cuda[0]}",
        )
    elif build.n_usable == 0:
        hidden = f"{VISIBLE}={visible!r} hides all GPUs" if visible is not None else f"torch sees no GPU: {text}"
        yield missing(SUBJECT, hidden, f"unset {VISIBLE}" if visible is not None else "nvidia-smi shows their state")
    else:
        yield ok(SUBJECT, f"{text}; {build.n_usable} of {len(driver.gpus)} GPUs usable")


def _card_findings(number: int, gpu: SeenGpu, build: TorchBuild) -> Iterator[Finding]:
    name = f"GPU {number}, {gpu.name}, capability {gpu.capability[0]}.{gpu.capability[1]}"
    memory = f"{gpu.free_bytes / GIB:.1f} of {gpu.total_bytes / GIB:.1f} GiB free"
    if build.architectures and not has_kernels(gpu.capability, build.architectures):
        got = ", ".join(build.architectures)
        yield missing(
            SUBJECT,
            f"{name}: this torch has no kernels for it, only for {got}",
            "install another build of torch, or compute: {device: cpu} in the recipe",
        )
    elif gpu.free_bytes < LEAST_FREE_SHARE * gpu.total_bytes:
        yield warning(SUBJECT, f"{name}: {memory}", "nvidia-smi shows which process uses it")
    else:
        yield ok(SUBJECT, f"{name}: {memory}")
    if gpu.capability < BFLOAT16_CAPABILITY:
        yield warning(SUBJECT, f"{name}: no bfloat16", "model: {dtype: float16} or float32 in the recipe")


def has_kernels(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Return whether a build of torch runs on a GPU.

    Kernels for `sm_XY` run on GPUs of the same major version X and at least minor version Y. Code for `compute_XY` is
    compiled by the driver for any newer GPU.
    """
    for match in filter(None, map(_ARCHITECTURE.fullmatch, architectures)):
        kind, built = match[1], (int(match[2]), int(match[3]))
        if built <= capability and (kind == "compute" or built[0] == capability[0]):
            return True
    return False
