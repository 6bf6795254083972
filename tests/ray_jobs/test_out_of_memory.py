"""Running out of real memory: a process whose address space is limited retries with less memory.

The limits are measured first, in the same kind of process: the memory of a pass with whole and with half batches. The
process has one thread and one arena of the allocator, so that batches determine its memory.
"""

import ctypes
import json
import os
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import mlprune.demo
from mlprune.steps.job import MIN_BATCH_TOKENS
from tests import faults
from tests.faults import Command, Ended
from tests.run_entries import entries
from tests.tiny_recipes import write_recipe

pytestmark = [pytest.mark.faults, pytest.mark.slow]
TOKENS = 16_384
"""Tokens of a batch, which is the whole set. Its widest states take 40 MiB each."""
MODEL = Path(mlprune.demo.__file__).parent / "xglm-cldr-2m"
STATUS = Path("/proc/self/status")
M_ARENA_MAX = -8
"""Parameter of mallopt(3): the number of arenas."""


def recipe_of(batch_tokens: int) -> dict[str, Any]:
    sizes = {"shots": 16, "samples": 64, "max_tokens": 256}
    return {
        "name": "memory",
        "model": {"path": str(MODEL)},
        "corpus": {"kind": "cldr", "lines": 1100},
        "demonstrations": [{"name": "mt", "kind": "translation", "source": "fr", "target": "en", **sizes}],
        "variants": [{"demonstrations": "mt", "score": "wanda", "sparsity": 0.5, "propagation": "dense"}],
        "compute": {"batch_tokens": batch_tokens},
    }


def run(folder: Path, batch_tokens: int, *more: Callable[[], None]) -> Ended:
    """Run the recipe with one thread, into the store `store-<batch_tokens>`."""
    recipe = write_recipe(folder, recipe_of(batch_tokens), name=f"{batch_tokens}.yaml")
    command = ("run", recipe, "--store", folder / f"store-{batch_tokens}", "--address", "none")
    return Command(*command, log=folder / f"{batch_tokens}.log", faults=(one_thread, *more)).ended(600)


def one_thread() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def sizes() -> tuple[int, int]:
    """(current, peak) address space of this process in bytes."""
    lines = (line.split() for line in STATUS.read_text().splitlines())
    sizes_by_name = {words[0]: int(words[1]) * 1024 for words in lines if words and words[0] in ("VmSize:", "VmPeak:")}
    return sizes_by_name["VmSize:"], sizes_by_name["VmPeak:"]


def log_sizes(file: Path) -> None:
    """Write the address space of the process to a file before every job."""

    def log(job: Any) -> None:
        with file.open("a") as stream:
            stream.write(json.dumps([job.step, *sizes()]) + "\n")

    faults.before_jobs(log)


def limit_memory(n_bytes: int) -> None:
    """Limit the address space at the start of the first pass to its current size and a number of bytes."""
    faults.before_job(1, lambda: _limit(sizes()[0] + n_bytes), step="observe")


def _limit(n_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))


def memory_of_a_pass(folder: Path, batch_tokens: int) -> int:
    """Address space that observing takes, with the model."""
    file = folder / f"{batch_tokens}.sizes"
    ended = run(folder, batch_tokens, partial(log_sizes, file))
    assert ended.code == 0, ended.output
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    index = [step for step, *_ in rows].index("observe")
    return int(rows[index + 1][2] - rows[index][1])


@pytest.fixture(scope="module")
def pass_memory(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int]:
    """Memory of a pass with whole and with half batches."""
    folder = tmp_path_factory.mktemp("measured")
    whole, half = (memory_of_a_pass(folder, n) for n in (TOKENS, TOKENS // 2))
    assert whole > 1.3 * half, "batches determine the memory"
    return whole, half


def attempts(folder: Path) -> list[tuple[str, int, str]]:
    """(status, tokens of a batch, memory level) of every attempt of the pass."""
    rows = [row for store in folder.glob("store-*") for row in entries(store, "job") if row["step"] == "observe"]
    return [(row["status"], row["batch_tokens"], row["memory_level"]) for row in rows]


def test_a_pass_without_memory_for_its_batches_is_done_with_half_of_them(
    pass_memory: tuple[int, int], tmp_path: Path
) -> None:
    ended = run(tmp_path, TOKENS, partial(limit_memory, sum(pass_memory) // 2))
    assert ended.code == 0, ended.output
    assert attempts(tmp_path) == [("lost", TOKENS, "as planned"), ("done", TOKENS // 2, "half batches")]


def test_a_pass_without_memory_for_any_batch_fails_with_advice_and_other_jobs_are_done(
    pass_memory: tuple[int, int], tmp_path: Path
) -> None:
    ended = run(tmp_path, TOKENS, partial(limit_memory, pass_memory[1] // 3))
    assert ended.code == 3, ended.output
    n_halvings = (TOKENS // MIN_BATCH_TOKENS).bit_length() - 1
    tried = [(TOKENS >> n, "as planned" if n == 0 else f"1/{2**n} batches") for n in range(n_halvings + 1)]
    tried[1] = (TOKENS // 2, "half batches")
    tried.append((MIN_BATCH_TOKENS, "offloaded"))
    expected = [
        *(("lost", *attempt) for attempt in tried),
        ("failed", MIN_BATCH_TOKENS, "offloaded, one block at a time"),
    ]
    assert attempts(tmp_path) == expected
    assert "compute: {shards: 2}" in ended.output
