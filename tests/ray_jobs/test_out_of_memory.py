"""Memory that really runs out: a process whose address space is limited once it works goes down the ladder.

How much room is too little is measured first, in the same kind of process: what a pass takes with whole batches, and
with half of them. One thread and one arena of the allocator, so that the room is taken by batches and not by chance.
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
from tests import faults
from tests.faults import Command, Ended
from tests.tiny_recipes import write_recipe

pytestmark = [pytest.mark.faults, pytest.mark.slow]
TOKENS = 16_384
"""Of a batch: the whole set. Its widest states take 40 MiB each."""
MODEL = Path(mlprune.demo.__file__).parent / "xglm-cldr-2m"
STATUS = Path("/proc/self/status")
M_ARENA_MAX = -8
"""mallopt(3): threads share arenas."""


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
    """Address space of this process now, and at most so far, in bytes."""
    lines = (line.split() for line in STATUS.read_text().splitlines())
    found = {words[0]: int(words[1]) * 1024 for words in lines if words and words[0] in ("VmSize:", "VmPeak:")}
    return found["VmSize:"], found["VmPeak:"]


def note_sizes(file: Path) -> None:
    """Write down before every job what the process has."""

    def note(job: Any) -> None:
        with file.open("a") as stream:
            stream.write(json.dumps([job.step, *sizes()]) + "\n")

    faults.before_jobs(note)


def leave_room(n_bytes: int) -> None:
    """From the first pass on, let the process have so much more than it has then, and no more."""
    faults.before_job(1, lambda: _limit(sizes()[0] + n_bytes), step="observe")


def _limit(n_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))


def room_of_a_pass(folder: Path, batch_tokens: int) -> int:
    """What observing takes of the address space, the model included."""
    file = folder / f"{batch_tokens}.sizes"
    ended = run(folder, batch_tokens, partial(note_sizes, file))
    assert ended.code == 0, ended.said
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    place = [step for step, *_ in rows].index("observe")
    return int(rows[place + 1][2] - rows[place][1])


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int]:
    """What a pass takes with whole batches, and with half of them."""
    folder = tmp_path_factory.mktemp("rooms")
    whole, half = (room_of_a_pass(folder, n) for n in (TOKENS, TOKENS // 2))
    assert whole > 1.3 * half, "batches are what takes the room"
    return whole, half


def tries(folder: Path) -> list[tuple[str, int, str]]:
    """(status, tokens of a batch, relief) of every try of the pass."""
    files = sorted(folder.glob("store-*/runs/*/job-*.json"), key=lambda path: int(path.stem.partition("-")[2]))
    rows = [row for path in files if (row := json.loads(path.read_text()))["step"] == "observe"]
    return [(row["status"], row["batch_tokens"], row["relief"]) for row in rows]


def test_a_pass_that_has_no_room_for_its_batches_is_done_with_half_of_them(
    rooms: tuple[int, int], tmp_path: Path
) -> None:
    ended = run(tmp_path, TOKENS, partial(leave_room, sum(rooms) // 2))
    assert ended.code == 0, ended.said
    assert tries(tmp_path) == [("lost", TOKENS, "as planned"), ("done", TOKENS // 2, "half batches")]


def test_a_pass_that_has_no_room_at_all_fails_with_the_advice_and_the_others_are_done(
    rooms: tuple[int, int], tmp_path: Path
) -> None:
    ended = run(tmp_path, TOKENS, partial(leave_room, rooms[1] // 3))
    assert ended.code == 3, ended.said
    half = TOKENS // 2
    expected = [("lost", TOKENS, "as planned"), ("lost", half, "half batches"), ("failed", half, "offloaded")]
    assert tries(tmp_path) == expected
    assert f"in the recipe, ask for smaller batches (compute: {{batch_tokens: {half // 2}}}; {half}" in ended.said
