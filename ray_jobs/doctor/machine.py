"""Examination of this machine: libraries, CPUs, memory, disk, limits and GPUs."""

import os
import platform
import re
import resource
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import TypeAlias

from packaging.requirements import Requirement

from mlprune.cache_folders import user_cache_folder
from mlprune.planning.resources.node_capacity import GIB
from mlprune.steps.inputs import BFLOAT16_CAPABILITY
from ray_jobs.doctor.findings import Finding, missing, ok, warning
from ray_jobs.process.gpus import VISIBLE, NvidiaDriver, SeenGpu, nvidia_driver
from ray_jobs.process.installed import install_command, installed_version
from ray_jobs.workers.node_resources import free_disk_bytes, free_memory_bytes, n_cpus

SUBJECT = "machine"
PACKAGE = "mlprune"
LEAST_FREE_BYTES = 2 * GIB
"""Free memory, and free space on the disk of temporary files, below which there is a warning."""
LEAST_OPEN_FILES = 4096
"""Limit of open files below which there is a warning: Ray and object stores open many."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Ray keeps its objects
LEAST_SHARED_BYTES = GIB // 8
"""Free shared memory below which there is a warning."""
CACHE_HELP = "export XDG_CACHE_HOME=/a/writable/folder"
DEVELOPMENT = ("dev", "real")
"""Extras for the development of this package."""
_EXTRA = re.compile(r"extra == [\"'](\w+)[\"']")
VersionOf: TypeAlias = Callable[[str], str | None]
"""Name of a package -> its version, None if it is not installed."""
GPU_SUBJECT = "gpu"
LEAST_FREE_SHARE = 0.5
"""Share of a GPU's memory below which there is a warning: another process uses it."""
_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)[a-z]?")


def examine_machine() -> list[Finding]:
    """Examine this machine."""
    return [
        ok(SUBJECT, f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"),
        *library_findings(_requirements(), installed_version),
        *extra_findings(_requirements(), installed_version),
        ok(SUBJECT, f"{n_cpus()} CPUs"),
        memory_finding(free_memory_bytes()),
        *disk_findings(Path(os.environ.get("TMPDIR") or tempfile.gettempdir()), SHARED_MEMORY),
        cache_finding(),
        open_files_finding(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        *address_space_findings(resource.getrlimit(resource.RLIMIT_AS)[0]),
    ]


def _requirements() -> list[str]:
    """Return the requirements of this package; empty if it is not installed."""
    try:
        return requires(PACKAGE) or []
    except PackageNotFoundError:
        return []


def library_findings(requirements: Iterable[str], installed: VersionOf) -> Iterator[Finding]:
    """Compare installed libraries with the ranges that this package requires.

    Args:
        requirements: as in the metadata of a package; those of extras are compared only if they are installed.
        installed: returns the version of a package, None if it is not installed.
    """
    parsed = [Requirement(text) for text in requirements]
    if not parsed:
        yield warning(SUBJECT, f"{PACKAGE} is not installed as a package: versions are not checked", "pip install -e .")
        return
    n_fitting = 0
    for requirement in parsed:
        got = installed(requirement.name)
        is_extra = requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})
        if got is None and not is_extra:
            yield missing(
                SUBJECT,
                f"{requirement.name} is not installed",
                f"pip install '{requirement.name}{requirement.specifier}'",
            )
        elif got is not None and not requirement.specifier.contains(got, prereleases=True):
            text = f"{requirement.name} {got} is not in the range {requirement.specifier}"
            yield (warning if is_extra else missing)(
                SUBJECT, text, f"pip install '{requirement.name}{requirement.specifier}'"
            )
        else:
            n_fitting += not is_extra
    yield ok(SUBJECT, f"{n_fitting} required libraries in range")


def extra_findings(requirements: Iterable[str], installed: VersionOf) -> Iterator[Finding]:
    """Say which optional libraries are not installed; nothing is missing as long as no command needs them."""
    lacking: dict[str, list[str]] = {}
    for requirement in map(Requirement, requirements):
        match = _EXTRA.search(str(requirement.marker or ""))
        if match and match[1] not in DEVELOPMENT and installed(requirement.name) is None:
            lacking.setdefault(match[1], []).append(requirement.name)
    for extra, names in lacking.items():
        yield ok(SUBJECT, f"optional: {', '.join(names)} not installed; {install_command(extra)}")


def memory_finding(free_bytes: int) -> Finding:
    """Judge the free memory."""
    text = f"{free_bytes / GIB:.1f} GiB of free memory"
    if free_bytes >= LEAST_FREE_BYTES:
        return ok(SUBJECT, text)
    return warning(SUBJECT, text, "close other programs, or compute: {memory_gib_per_actor: 1} in the recipe")


def disk_findings(temporary: Path, shared: Path) -> Iterator[Finding]:
    """Judge the free space for temporary files and, if there is such a folder, for Ray's objects in shared memory."""
    if (reason := _not_writable(temporary)) is not None:
        text = f"temporary files cannot be written to {temporary}: {reason}"
        yield missing(SUBJECT, text, f"mkdir -p {temporary}, or export TMPDIR=/another/folder")
    else:
        free = free_disk_bytes(temporary)
        text = f"{free / GIB:.1f} GiB free for temporary files in {temporary}"
        help_ = "export TMPDIR=/a/larger/disk, and compute: {spill_dir: /a/larger/disk} in the recipe"
        yield ok(SUBJECT, text) if free >= LEAST_FREE_BYTES else warning(SUBJECT, text, help_)
    if shared.is_dir():
        free = free_disk_bytes(shared)
        text = f"{free / GIB:.1f} GiB of shared memory for Ray's objects"
        help_ = "docker run --shm-size 2g, or compute: {object_store_gib: 0.1} in the recipe"
        yield ok(SUBJECT, text) if free >= LEAST_SHARED_BYTES else warning(SUBJECT, text, help_)


def cache_finding() -> Finding:
    """Say whether the user's caches can be written: those of catalogs of object stores and of imported models."""
    try:
        folder = user_cache_folder()
    except RuntimeError as err:  # the user has no home folder
        return warning(SUBJECT, f"no folder for caches: {err}", CACHE_HELP)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    reason = _not_writable(existing)
    if reason is None:
        return ok(SUBJECT, f"caches in {folder}")
    return warning(SUBJECT, f"caches cannot be written to {folder}: {reason}", CACHE_HELP)


def _not_writable(folder: Path) -> str | None:
    """Return the reason for which no file can be created in a folder; None if one can. The file is removed at once."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as err:
        return err.strerror or str(err)


def address_space_findings(limit: int) -> Iterator[Finding]:
    """Judge the limit of the address space of a process; nothing without a limit.

    Args:
        limit: -1 or that of the operating system for none.
    """
    if limit not in (-1, resource.RLIM_INFINITY):
        text = f"at most {limit / GIB:.1f} GiB of address space in a process: libraries and mapped files count, too"
        yield warning(SUBJECT, text, "ulimit -v unlimited")


def open_files_finding(limit: int) -> Finding:
    """Judge the limit of open files of a process.

    Args:
        limit: -1 or that of the operating system for none.
    """
    if limit in (-1, resource.RLIM_INFINITY):
        return ok(SUBJECT, "open files: no limit")
    if limit >= LEAST_OPEN_FILES:
        return ok(SUBJECT, f"at most {limit} open files")
    return warning(SUBJECT, f"at most {limit} open files", "ulimit -n 65536")


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
        yield ok(GPU_SUBJECT, f"no NVIDIA GPU: models run on the CPU (torch {build.version})")
        return
    yield from _build_findings(driver, build, visible=visible)
    for number, gpu in enumerate(driver.gpus):
        yield from _card_findings(number, gpu, build)


def _build_findings(driver: NvidiaDriver, build: TorchBuild, *, visible: str | None) -> Iterator[Finding]:
    newest = ".".join(map(str, driver.cuda))
    text = f"torch {build.version} for CUDA {build.cuda}, driver {driver.version} up to CUDA {newest}"
    if build.cuda is None:
        yield missing(
            GPU_SUBJECT,
            f"torch {build.version} is built for CPUs",
            "pip install torch, from the index for your CUDA: https://pytorch.org/get-started/locally",
        )
    elif int(build.cuda.partition(".")[0]) > driver.cuda[0]:
        yield missing(
            GPU_SUBJECT,
            f"the driver is too old: {text}",
            f"update the NVIDIA driver, or install torch for CUDA {driver.cuda[0]}",
        )
    elif build.n_usable == 0:
        hidden = f"{VISIBLE}={visible!r} hides all GPUs" if visible is not None else f"torch sees no GPU: {text}"
        yield missing(
            GPU_SUBJECT, hidden, f"unset {VISIBLE}" if visible is not None else "nvidia-smi shows their state"
        )
    else:
        yield ok(GPU_SUBJECT, f"{text}; {build.n_usable} of {len(driver.gpus)} GPUs usable")


def _card_findings(number: int, gpu: SeenGpu, build: TorchBuild) -> Iterator[Finding]:
    name = f"GPU {number}, {gpu.name}, capability {gpu.capability[0]}.{gpu.capability[1]}"
    memory = f"{gpu.free_bytes / GIB:.1f} of {gpu.total_bytes / GIB:.1f} GiB free"
    if build.architectures and not has_kernels(gpu.capability, build.architectures):
        got = ", ".join(build.architectures)
        yield missing(
            GPU_SUBJECT,
            f"{name}: this torch has no kernels for it, only for {got}",
            "install another build of torch, or compute: {device: cpu} in the recipe",
        )
    elif gpu.free_bytes < LEAST_FREE_SHARE * gpu.total_bytes:
        yield warning(GPU_SUBJECT, f"{name}: {memory}", "nvidia-smi shows which process uses it")
    else:
        yield ok(GPU_SUBJECT, f"{name}: {memory}")
    if gpu.capability < BFLOAT16_CAPABILITY:
        yield warning(GPU_SUBJECT, f"{name}: no bfloat16", "model: {dtype: float16} or float32 in the recipe")


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
