"""What this machine has for actors: CPUs of this process, memory that is free, accelerators. Knows no Ray."""

import os
from pathlib import Path

import torch

from mlprune.plan.node_capacity import Node

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says how much memory is free, and how much of it a container may take."""
OBJECT_STORE_BYTES = 2**30
"""Most memory of a Ray that is started here for what its actors send to each other."""
SYSTEM_BYTES = 2**29
"""Memory of its own processes, which do no work of ours."""
OBJECT_STORE_SHARE, SYSTEM_SHARE = 1 / 10, 1 / 16
"""What these take of a small machine, at most."""


def this_node() -> Node:
    """This machine as one process of its own finds it, or as many as have all of it."""
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    a_gpu = min((torch.cuda.mem_get_info(number)[0] for number in range(n_gpus)), default=0)
    return Node(float(n_cpus()), free_memory_bytes(), float(n_gpus), a_gpu)


def local_ray_bytes() -> tuple[int, int]:
    """(memory for actors, memory of the object store) of a Ray that is started here."""
    free = free_memory_bytes()
    store = int(min(OBJECT_STORE_BYTES, free * OBJECT_STORE_SHARE))
    return free - store - int(min(SYSTEM_BYTES, free * SYSTEM_SHARE)), store


def n_cpus() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory_bytes(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int:
    """Memory that processes may still take: what the system has left, and what a container has left of its share.

    Without Linux's files, half of the memory there is.
    """
    free = _available(meminfo)
    if free is None:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    limit, used = _number(cgroup / "memory.max"), _number(cgroup / "memory.current")
    return free if limit is None or used is None else max(0, min(free, limit - used + _reclaimable(cgroup)))


def _available(meminfo: Path) -> int | None:
    lines = _lines(meminfo)
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _reclaimable(cgroup: Path) -> int:
    """File pages that a container's share counts as used and that can be dropped at any time."""
    return next(
        (int(line.split()[1]) for line in _lines(cgroup / "memory.stat") if line.startswith("inactive_file ")), 0
    )


def _number(path: Path) -> int | None:
    """The number in a file; None if it is missing or says `max`."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
