"""Resources of this machine: CPUs of this process, free memory and disk space, and accelerators. Does not use Ray."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from mlprune.planning.resources.node_capacity import GIB, Node
from ray_jobs.process.gpus import visible_gpus

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
"""Linux files with the free memory of the machine and the memory limit of a container."""
OBJECT_STORE_BYTES = 2**30
"""Upper limit of the object store of a local Ray, through which its actors exchange data."""
SYSTEM_BYTES = 2**29
"""Upper limit for Ray's own processes."""
OBJECT_STORE_SHARE, SYSTEM_SHARE = 1 / 10, 1 / 16
"""Upper limits of the two as a share of the free memory."""


def local_node() -> Node:
    """Measure this machine."""
    return Node(float(n_cpus()), free_memory_bytes(), visible_gpus())


@dataclass(frozen=True)
class LocalRay:
    """Settings of a Ray that starts on this machine."""

    object_store_gib: float | None = None
    """Memory of the object store; None for a tenth of the free memory, at most 1 GiB."""
    spill_dir: Path | None = None
    """Folder for objects that do not fit in the object store; None for Ray's own."""


def local_ray_bytes(object_store_gib: float | None = None) -> tuple[int, int]:
    """(memory for actors, memory of the object store) of a Ray that starts on this machine; see `LocalRay`."""
    free = free_memory_bytes()
    store = int(min(OBJECT_STORE_BYTES, free * OBJECT_STORE_SHARE))
    if object_store_gib is not None:
        store = int(object_store_gib * GIB)
    return max(0, free - store - int(min(SYSTEM_BYTES, free * SYSTEM_SHARE))), store


def n_cpus() -> int:
    """Number of CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_disk_bytes(folder: Path) -> int:
    """Free space on the disk of a folder, which need not exist yet."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free


def free_memory_bytes(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int:
    """Memory that new processes may use, within the limit of a container; half of all memory if Linux's files are
    missing."""
    free = _available(meminfo)
    if free is None:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    limit, used = _number(cgroup / "memory.max"), _number(cgroup / "memory.current")
    return free if limit is None or used is None else max(0, min(free, limit - used + _reclaimable(cgroup)))


def _available(meminfo: Path) -> int | None:
    lines = _lines(meminfo)
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _reclaimable(cgroup: Path) -> int:
    """File pages that count as used memory of a container but can be dropped at any time."""
    return next(
        (int(line.split()[1]) for line in _lines(cgroup / "memory.stat") if line.startswith("inactive_file ")), 0
    )


def _number(path: Path) -> int | None:
    """Read the number in a file; None if the file is missing or contains `max`."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
