"""Faults in real runs: after the next run at the latest, the store equals that of an uninterrupted run."""

import errno
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from catalog.check import check
from catalog.store import Catalog
from mlprune.store.store import Store
from tests import faults
from tests.faults import Command, Ended
from tests.ray_cluster import Cluster
from tests.run_entries import entries
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import contents, small_recipe, write_recipe, write_texts

pytestmark = [pytest.mark.faults, pytest.mark.thorough("kills and damages runs")]
TIMEOUT_S = 900


def fault_recipe() -> dict[str, Any]:
    """Two dense variants and a sweep over one set, facts in one language."""
    recipe = small_recipe()
    recipe["demonstrations"][0]["samples"] = 2
    recipe["evaluations"][0]["languages"] = ["fr"]
    return recipe


def write_fault_inputs(folder: Path) -> Path:
    """Write inputs with a small model; returns the recipe's path."""
    save_tiny_model(folder / "model", blocks=2)
    write_texts(folder)
    return write_recipe(folder, fault_recipe())


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fault_inputs(tmp_path_factory.mktemp("inputs"))


def run(recipe: Path, store: Path, *faults: Callable[[], None], log: Path | None = None) -> Ended:
    """Run a recipe in a process of its own until it ends, with any exit code."""
    return start(recipe, store, *faults, log=log).ended()


def start(
    recipe: Path, store: Path, *faults: Callable[[], None], address: str = "none", log: Path | None = None
) -> Command:
    log = log or store.parent / f"{store.name}.log"
    return Command("run", recipe, "--store", store, "--address", address, log=log, faults=faults)


def results(store: Path) -> dict[str, bytes]:
    """Path -> content of all records and artefacts."""
    files = contents(Store(store))
    return {path: data for path, data in files.items() if not path.startswith(("runs/", "claims/", "catalog.duckdb"))}


def tables(store: Path) -> dict[str, tuple[int, int]]:
    """Table -> (rows, fingerprint), except the tables of jobs and failures."""
    with Catalog.open(Store(store)) as catalog:
        catalog.fold()
        return {name: values for name, values in catalog.fingerprints().items() if name not in ("jobs", "failures")}


@dataclass(frozen=True)
class Reference:
    """A finished store without faults."""

    store: Path
    results: dict[str, bytes]
    tables: dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def reference(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """The store of an uninterrupted run."""
    store = tmp_path_factory.mktemp("uninterrupted") / "store"
    ended = run(recipe, store)
    assert ended.code == 0, ended.output
    return Reference(store, results(store), tables(store))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def finished(reference: Reference, store: Path) -> Path:
    """A copy of the uninterrupted store, which a test may damage."""
    shutil.copytree(reference.store, store)
    return store


def assert_same(store: Path, reference: Reference) -> None:
    """Compare a store with that of an uninterrupted run, byte for byte and row for row."""
    assert results(store) == reference.results
    assert not list(store.glob("claims/*/*.json"))
    assert tables(store) == reference.tables


def assert_next_run_completes(recipe: Path, store: Path, reference: Reference) -> None:
    ended = run(recipe, store)
    assert ended.code == 0, ended.output
    assert_same(store, reference)


def failures(store: Path) -> list[dict[str, Any]]:
    """Rows of the catalog's table of failures."""
    with Catalog.open(Store(store)) as catalog:
        catalog.fold()
        return catalog.query("SELECT * FROM failures ORDER BY step, job_id")


def one_file(store: Path, pattern: str) -> Path:
    """The first file that matches a pattern."""
    return sorted(store.glob(pattern))[0]


def test_a_run_killed_at_different_writes_resumes_each_time(recipe: Path, store: Path, reference: Reference) -> None:
    for fault in (
        partial(faults.kill_in_large_write, 3000),  # half of a Parquet file is written
        partial(faults.kill_at_flush, 1),  # a file is complete but not renamed yet
        partial(faults.kill_at_flush, 2),  # the file is renamed, its folder is not flushed
        partial(faults.kill_at_flush, 15),
        partial(faults.kill_in_large_write, 4200),
    ):
        ended = run(recipe, store, fault)
        assert ended.code in (-signal.SIGKILL, -signal.SIGXFSZ), ended.output
    assert_next_run_completes(recipe, store, reference)
    assert check(Store(store)) == ([], [])


def test_writes_that_fail_in_the_middle_fail_only_their_jobs(recipe: Path, store: Path, reference: Reference) -> None:
    limit = one_file(reference.store, "masks/*/block-000.parquet").stat().st_size - 500
    ended = run(recipe, store, partial(faults.refuse_large_writes, limit))
    assert ended.code == 3, ended.output
    assert "Traceback" not in ended.output
    assert run_file_errors(store) == {"OSError"}
    assert set(results(store)) < set(reference.results)
    assert_next_run_completes(recipe, store, reference)
    assert {row["error"] for row in failures(store)} == {"OSError"}


def run_file_errors(store: Path) -> set[str]:
    """Error types in the failures of all runs."""
    return {row["error"] for row in entries(store, "failure")}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_run_on_a_full_disk_ends_3_and_the_next_run_with_room_finishes(
    recipe: Path, small_disk: Path, store: Path, reference: Reference
) -> None:
    fill = partial(faults.fill_disk, small_disk, but=40_000)
    log = store.parent / "full-disk.log"
    ended = run(recipe, small_disk / "store", partial(faults.before_job, 4, fill), log=log)
    assert ended.code == 3, ended.output
    assert "No space left on device" in ended.output
    assert "Traceback" not in ended.output
    shutil.copytree(small_disk / "store", store)
    assert set(results(store)) < set(reference.results)
    assert_next_run_completes(recipe, store, reference)


@pytest.mark.slow
def test_damage_between_runs_is_repaired_by_the_next_run(recipe: Path, finished: Path, reference: Reference) -> None:
    truncate(one_file(finished, "statistics/*/block-001.part-00000.parquet"))
    truncate(one_file(finished, "records/evaluations/*.json"))
    one_file(finished, "features/*.parquet").unlink()
    assert_next_run_completes(recipe, finished, reference)
    assert list((finished / "quarantine").iterdir())


def truncate(path: Path) -> None:
    """Keep the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def damage_first(change: Callable[[Path], None], store: Path, pattern: str) -> None:
    change(one_file(store, pattern))


@pytest.mark.parametrize(
    ("change", "pattern", "step", "n"),
    [
        pytest.param(flip, "masks/*/block-001.parquet", "evaluate", 2, id="mask-flipped"),
        pytest.param(
            *(truncate, "statistics/*/block-000.part-00000.parquet", "prune", 2),
            id="statistics-truncated",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_damage_during_a_run_is_repaired_by_it(
    change: Callable[[Path], None], pattern: str, step: str, n: int, *, recipe: Path, store: Path, reference: Reference
) -> None:
    fault = partial(faults.before_job, n, partial(damage_first, change, store, pattern), step=step)
    ended = run(recipe, store, fault)
    assert ended.code == 0, ended.output
    assert "is damaged" in ended.output
    assert_same(store, reference)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "codes"),
    # truncating a file that is mapped into memory ends the process with SIGBUS; on Ray that is a lost worker
    [pytest.param(Path.unlink, {3}, id="missing"), pytest.param(truncate, {3, -signal.SIGBUS}, id="truncated")],
)
def test_a_model_file_lost_during_a_run_fails_jobs_and_the_next_run_with_it_completes(
    change: Callable[[Path], None], codes: set[int], store: Path, reference: Reference, recipe: Path, tmp_path: Path
) -> None:
    own_recipe = shutil.copytree(recipe.parent, tmp_path / "inputs") / recipe.name
    weights = one_file(own_recipe.parent, "model/*.safetensors")
    saved = weights.read_bytes()
    ended = run(own_recipe, store, partial(faults.before_job, 1, partial(change, weights), step="prune"))
    assert ended.code in codes, ended.output
    assert "Traceback" not in ended.output
    assert run_file_errors(store) <= {"ModelError", "FileNotFoundError", "SafetensorError"}
    without = run(own_recipe, store)
    assert without.code == 2, without.output
    assert without.output.count("\n") == 1
    weights.write_bytes(saved)
    assert_next_run_completes(own_recipe, store, reference)


@pytest.mark.slow
def test_the_clock_may_go_back_during_and_between_runs(recipe: Path, store: Path, reference: Reference) -> None:
    killed = run(recipe, store, partial(faults.kill_at_flush, 24))
    assert killed.code == -signal.SIGKILL
    ended = run(recipe, store, partial(faults.clock_going_back, datetime(2001, 1, 1, tzinfo=UTC)))
    assert ended.code == 0, ended.output
    assert_same(store, reference)
    assert len({path.parent for path in store.glob("runs/*/run.json")}) == 2


def poisoned() -> Exception:
    return ValueError("poison")


def test_a_failing_job_affects_only_jobs_that_need_it(recipe: Path, store: Path, reference: Reference) -> None:
    ended = run(recipe, store, partial(faults.in_jobs, poisoned, of="sweep"))
    assert ended.code == 3, ended.output
    assert [(row["step"], row["error"], row["attempts"]) for row in failures(store)] == [("sweep", "ValueError", 1)]
    missing = {path.split("/")[1] for path in set(reference.results) - set(results(store)) if "records" in path}
    assert missing == {"mask_blocks", "masks", "variants", "evaluations", "comparisons", "answers"}
    assert_next_run_completes(recipe, store, reference)


def lost_connection() -> Exception:
    return ConnectionError("reset by peer")


@pytest.mark.slow
def test_transient_failures_do_not_change_the_results(recipe: Path, store: Path, reference: Reference) -> None:
    ended = run(recipe, store, partial(faults.in_jobs, lost_connection, of="evaluate", times=2))
    assert ended.code == 0, ended.output
    assert [row["status"] for row in jobs_of(store, "evaluate")].count("lost") == 2
    assert_same(store, reference)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGTERM, 143, id="sigterm"),
        pytest.param(signal.SIGINT, 130, id="sigint", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_ends_with_one_line_and_can_be_resumed(
    number: signal.Signals, code: int, recipe: Path, store: Path, reference: Reference
) -> None:
    command = start(recipe, store, partial(faults.slow_jobs, 0.2))
    command.until(lambda: len(list(store.glob("records/*/*.json"))) > 5)
    command.send(number)
    command.send(number)
    ended = command.ended()
    assert ended.code == code, ended.output
    assert ended.output.splitlines()[-1].startswith("mlprune: stopped")
    assert "Traceback" not in ended.output
    assert not list(store.glob("claims/*/*.json"))
    assert_next_run_completes(recipe, store, reference)


@pytest.mark.ray
@pytest.mark.slow
def test_a_job_that_always_kills_its_worker_is_tried_a_bounded_number_of_times(
    cluster: Cluster, recipe: Path, store: Path, reference: Reference
) -> None:
    join = partial(faults.on_cluster, cluster.settings)
    ended = start(recipe, store, join, faults.deadly_sweeps, address=cluster.address).ended(TIMEOUT_S)
    assert ended.code == 3, ended.output
    assert [(row["error"], row["attempts"]) for row in failures(store)] == [("WorkerLostError", 3)]
    assert_next_run_completes(recipe, store, reference)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, 1.0, 2.0, 4.0])
def test_a_run_on_ray_stopped_at_any_moment_ends_with_one_line(
    delay_s: float, cluster: Cluster, recipe: Path, store: Path, reference: Reference
) -> None:
    join = partial(faults.on_cluster, cluster.settings)
    command = start(recipe, store, join, address=cluster.address)
    command.until(lambda: list(store.glob("runs/*/planned.json")), timeout_s=TIMEOUT_S)
    time.sleep(delay_s)
    for _ in range(3):
        command.send(signal.SIGTERM)
        time.sleep(0.1)
    ended = command.ended(TIMEOUT_S)
    assert ended.code in (143, 0), ended.output  # it may have ended before the signal
    assert ended.code == 0 or "mlprune: stopped" in ended.output.splitlines()[-1]
    assert "Traceback" not in ended.output
    assert_next_run_completes(recipe, store, reference)


# Out of memory


def python_memory() -> Exception:
    return MemoryError("16 GiB")


def gpu_memory() -> Exception:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def cpu_memory() -> Exception:
    return RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")


def system_memory() -> Exception:
    return OSError(errno.ENOMEM, "Cannot allocate memory")


def jobs_of(store: Path, step: str) -> list[dict[str, Any]]:
    """Log entries of the attempts of a step, in order."""
    return [row for row in entries(store, "job") if row["step"] == step]


@pytest.mark.parametrize("error", [gpu_memory, pytest.param(cpu_memory, marks=pytest.mark.slow)])
def test_out_of_memory_halves_the_batches_again_and_again(
    error: Callable[[], Exception], recipe: Path, store: Path, reference: Reference
) -> None:
    ended = run(recipe, store, partial(faults.in_jobs, error, of="observe", times=2))
    assert ended.code == 0, ended.output
    attempts = [(row["status"], row["batch_tokens"], row["memory_level"]) for row in jobs_of(store, "observe")]
    assert attempts == [("lost", 128, "as planned"), ("lost", 64, "half batches"), ("done", 32, "1/4 batches")]
    assert set(results(store)) == set(reference.results)
    assert check(Store(store)) == ([], [])


def likelihoods(store: Path) -> dict[str, list[float]]:
    """Evaluation id -> log-likelihoods of its candidates."""
    opened = Store(store)
    column = "log_likelihood"
    records = opened.records("evaluations")
    return {record.id: opened.read_table(record.artefacts[0], [column])[column] for record in records}


def test_halved_batches_change_log_likelihoods_by_at_most_a_ten_thousandth(
    recipe: Path, store: Path, reference: Reference
) -> None:
    ended = run(recipe, store, partial(faults.in_jobs, gpu_memory, of="evaluate", times=1))
    assert ended.code == 0, ended.output
    assert "half batches" in {row["memory_level"] for row in jobs_of(store, "evaluate")}
    values, expected_values = likelihoods(store), likelihoods(reference.store)
    assert values.keys() == expected_values.keys()
    for name, expected in expected_values.items():
        assert values[name] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("error", [python_memory, pytest.param(system_memory, marks=pytest.mark.slow)])
def test_out_of_memory_at_every_level_fails_with_advice(
    error: Callable[[], Exception], recipe: Path, store: Path, reference: Reference
) -> None:
    ended = run(recipe, store, partial(faults.in_jobs, error, of="sweep"))
    assert ended.code == 3, ended.output
    (row,) = failures(store)
    assert (row["error"], row["attempts"]) == ("OutOfMemoryError", 6)
    assert "compute: {shards: 2}" in row["message"]
    assert_next_run_completes(recipe, store, reference)
