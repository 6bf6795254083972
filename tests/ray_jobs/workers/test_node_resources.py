"""Free memory and CPUs of a machine, from Linux files if they exist."""

import os
from pathlib import Path

import psutil
import pytest

from ray_jobs.workers import node_resources
from ray_jobs.workers.node_resources import free_memory_bytes, local_node, local_ray_bytes, n_cpus

GIB = 2**30


def meminfo(folder: Path, gib: int) -> Path:
    file = folder / "meminfo"
    file.write_text(f"MemTotal: {64 * GIB // 1024} kB\nMemFree: 1 kB\nMemAvailable:   {gib * GIB // 1024} kB\n")
    return file


def cgroup(folder: Path, limit: str, used: int, *, inactive_file: int = 0) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive_file}\n")
    return folder


def test_free_memory_is_what_the_system_calls_available(tmp_path: Path) -> None:
    assert free_memory_bytes(meminfo(tmp_path, 7), tmp_path) == 7 * GIB


def test_a_container_has_what_is_left_of_its_limit(tmp_path: Path) -> None:
    file = meminfo(tmp_path, 7)
    assert free_memory_bytes(file, cgroup(tmp_path, str(4 * GIB), 3 * GIB)) == GIB
    assert free_memory_bytes(file, cgroup(tmp_path, str(4 * GIB), 3 * GIB, inactive_file=GIB)) == 2 * GIB
    assert free_memory_bytes(file, cgroup(tmp_path, str(4 * GIB), 5 * GIB)) == 0
    assert free_memory_bytes(file, cgroup(tmp_path, "max", 3 * GIB)) == 7 * GIB


def test_without_linux_files_half_of_the_memory_counts_as_free(tmp_path: Path) -> None:
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert free_memory_bytes(tmp_path / "meminfo", tmp_path) == whole // 2


def test_this_machine_is_measured() -> None:
    node = local_node()
    assert node.n_cpus == n_cpus() <= (os.cpu_count() or 1)
    assert 0 < node.memory_bytes <= psutil.virtual_memory().total


def test_a_local_ray_leaves_memory_to_its_own_processes() -> None:
    for_actors, for_objects = local_ray_bytes()
    assert 0 < for_objects <= GIB
    assert for_actors + for_objects < free_memory_bytes() + GIB // 4


def test_the_object_store_of_a_recipe_is_taken_from_the_memory_of_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_resources, "free_memory_bytes", lambda: 16 * GIB)
    for_actors, for_objects = local_ray_bytes(4)
    assert for_objects == 4 * GIB
    assert for_actors == local_ray_bytes()[0] + local_ray_bytes()[1] - 4 * GIB
    assert local_ray_bytes(100)[0] == 0
