"""Faults put into real runs: at the latest after the next run, the store is what an uninterrupted one leaves."""

import errno
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
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
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import contents, small_recipe, write_recipe, write_texts

pytestmark = pytest.mark.faults
PATIENCE_S = 240


def fault_recipe() -> dict[str, Any]:
    """Two dense variants and a sweep over one set, facts in one language."""
    recipe = small_recipe()
    recipe["demonstrations"][0]["samples"] = 2
    recipe["evaluations"][0]["languages"] = ["fr"]
    return recipe


def write_fault_inputs(folder: Path) -> Path:
    """Inputs with a model in several files, and the recipe's path."""
    save_tiny_model(folder / "model", blocks=2)
    write_texts(folder)
    return write_recipe(folder, fault_recipe())


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fault_inputs(tmp_path_factory.mktemp("inputs"))


def run(recipe: Path, store: Path, *faults: Callable[[], None]) -> Ended:
    """Run a recipe in a process of its own, to whatever end it comes."""
    return start(recipe, store, *faults).ended()


def start(recipe: Path, store: Path, *faults: Callable[[], None], address: str = "none") -> Command:
    log = store.parent / f"{store.name}.log"
    return Command("run", recipe, "--store", store, "--address", address, log=log, faults=faults)


def results(store: Path) -> dict[str, bytes]:
    """All records and artefacts."""
    found = contents(Store(store))
    return {path: data for path, data in found.items() if not path.startswith(("runs/", "claims/", "catalog.duckdb"))}


def tables(store: Path) -> dict[str, tuple[int, int]]:
    """Table -> (rows, fingerprint), of all but those that tell how the runs went and where files lay."""
    with Catalog.open(Store(store)) as catalog:
        catalog.fold()
        return {name: found for name, found in catalog.fingerprints().items() if name not in ("jobs", "failures")}


@pytest.fixture(scope="module")
def uninterrupted(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run that nothing happened to."""
    store = tmp_path_factory.mktemp("uninterrupted") / "store"
    ended = run(recipe, store)
    assert ended.code == 0, ended.said
    return store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def finished(uninterrupted: Path, store: Path) -> Path:
    """A copy of the uninterrupted store, to be damaged."""
    shutil.copytree(uninterrupted, store)
    return store


def assert_same(store: Path, uninterrupted: Path) -> None:
    """The store holds what the uninterrupted one holds, byte for byte and row for row."""
    assert results(store) == results(uninterrupted)
    assert not list(store.glob("claims/*/*.json"))
    assert tables(store) == tables(uninterrupted)


def assert_next_run_completes(recipe: Path, store: Path, uninterrupted: Path) -> None:
    ended = run(recipe, store)
    assert ended.code == 0, ended.said
    assert_same(store, uninterrupted)


def failures(store: Path) -> list[dict[str, Any]]:
    """Rows of the table of failures."""
    with Catalog.open(Store(store)) as catalog:
        catalog.fold()
        return catalog.query("SELECT * FROM failures ORDER BY step, job_id")


def one_file(store: Path, pattern: str) -> Path:
    """The first file of a pattern."""
    return sorted(store.glob(pattern))[0]


def test_killed_at_one_write_after_another_a_run_goes_on_each_time(
    recipe: Path, store: Path, uninterrupted: Path
) -> None:
    for fault in (
        partial(faults.kill_in_large_write, 3000),  # half of a Parquet file is written
        partial(faults.kill_at_flush, 1),  # a file is whole, but has another name
        partial(faults.kill_at_flush, 2),  # it is there, its folder is not flushed
        partial(faults.kill_at_flush, 15),
        partial(faults.kill_in_large_write, 4200),
    ):
        ended = run(recipe, store, fault)
        assert ended.code in (-signal.SIGKILL, -signal.SIGXFSZ), ended.said
    assert_next_run_completes(recipe, store, uninterrupted)
    assert check(Store(store)) == ([], [])


def test_files_that_cannot_grow_cost_the_jobs_that_write_them(recipe: Path, store: Path, uninterrupted: Path) -> None:
    limit = one_file(uninterrupted, "masks/*/block-000.parquet").stat().st_size - 500
    ended = run(recipe, store, partial(faults.refuse_large_writes, limit))
    assert ended.code == 3, ended.said
    assert "Traceback" not in ended.said
    assert run_file_errors(store) == {"OSError"}
    assert set(results(store)) < set(results(uninterrupted))
    assert_next_run_completes(recipe, store, uninterrupted)
    assert {row["error"] for row in failures(store)} == {"OSError"}


def run_file_errors(store: Path) -> set[str]:
    """Errors in the failure files of all runs."""
    return {json.loads(path.read_text())["error"] for path in store.glob("runs/*/failure-*.json")}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
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
def test_a_disk_that_fills_up_ends_with_exit_code_3_and_room_lets_the_next_run_finish(
    recipe: Path, small_disk: Path, store: Path, uninterrupted: Path
) -> None:
    fill = partial(faults.fill_disk, small_disk, but=40_000)
    ended = run(recipe, small_disk / "store", partial(faults.before_job, 4, fill))
    assert ended.code == 3, ended.said
    assert "No space left on device" in ended.said
    assert "Traceback" not in ended.said
    shutil.copytree(small_disk / "store", store)
    assert set(results(store)) < set(results(uninterrupted))
    assert_next_run_completes(recipe, store, uninterrupted)


@pytest.mark.slow
def test_damage_between_runs_is_found_and_mended_by_the_next(recipe: Path, finished: Path, uninterrupted: Path) -> None:
    truncate(one_file(finished, "statistics/*/block-001.part-00000.parquet"))
    truncate(one_file(finished, "records/evaluations/*.json"))
    one_file(finished, "features/*.parquet").unlink()
    assert_next_run_completes(recipe, finished, uninterrupted)
    assert list((finished / "quarantine").iterdir())


def truncate(path: Path) -> None:
    """Leave the first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change one bit in the middle; the size stays."""
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
def test_damage_while_a_run_goes_on_is_mended_by_it(
    change: Callable[[Path], None],
    pattern: str,
    step: str,
    n: int,
    *,
    recipe: Path,
    store: Path,
    uninterrupted: Path,
) -> None:
    fault = partial(faults.before_job, n, partial(damage_first, change, store, pattern), step=step)
    ended = run(recipe, store, fault)
    assert ended.code == 0, ended.said
    assert "is damaged" in ended.said
    assert_same(store, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "codes"),
    # what is mapped into memory and then truncated ends a process by SIGBUS; on Ray that is a worker lost
    [pytest.param(Path.unlink, {3}, id="missing"), pytest.param(truncate, {3, -signal.SIGBUS}, id="truncated")],
)
def test_a_model_file_lost_in_the_middle_fails_what_reads_it_and_the_next_run_with_it_completes(
    change: Callable[[Path], None], codes: set[int], store: Path, uninterrupted: Path, recipe: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(recipe.parent, tmp_path / "inputs") / recipe.name
    weights = one_file(own.parent, "model/*.safetensors")
    saved = weights.read_bytes()
    ended = run(own, store, partial(faults.before_job, 1, partial(change, weights), step="prune"))
    assert ended.code in codes, ended.said
    assert "Traceback" not in ended.said
    assert run_file_errors(store) <= {"ModelError", "FileNotFoundError", "SafetensorError"}
    without = run(own, store)
    assert without.code == 2, without.said
    assert without.said.count("\n") == 1
    weights.write_bytes(saved)
    assert_next_run_completes(own, store, uninterrupted)


@pytest.mark.slow
def test_the_clock_may_go_back_in_and_between_runs(recipe: Path, store: Path, uninterrupted: Path) -> None:
    killed = run(recipe, store, partial(faults.kill_at_flush, 24))
    assert killed.code == -signal.SIGKILL
    ended = run(recipe, store, partial(faults.clock_going_back, datetime(2001, 1, 1, tzinfo=UTC)))
    assert ended.code == 0, ended.said
    assert_same(store, uninterrupted)
    assert len({path.parent for path in store.glob("runs/*/run.json")}) == 2


def poisoned() -> Exception:
    return ValueError("poison")


def test_a_poison_job_takes_along_only_what_needs_it(recipe: Path, store: Path, uninterrupted: Path) -> None:
    ended = run(recipe, store, partial(faults.in_jobs, poisoned, of="sweep"))
    assert ended.code == 3, ended.said
    assert [(row["step"], row["error"], row["attempts"]) for row in failures(store)] == [("sweep", "ValueError", 1)]
    missing = {path.split("/")[1] for path in set(results(uninterrupted)) - set(results(store)) if "records" in path}
    assert missing == {"mask_blocks", "masks", "variants", "evaluations", "comparisons"}
    assert_next_run_completes(recipe, store, uninterrupted)


def lost_connection() -> Exception:
    return ConnectionError("reset by peer")


@pytest.mark.slow
def test_failures_that_pass_leave_no_trace_in_the_results(recipe: Path, store: Path, uninterrupted: Path) -> None:
    ended = run(recipe, store, partial(faults.in_jobs, lost_connection, of="evaluate", times=2))
    assert ended.code == 0, ended.said
    assert ended.said.count("once more") == 2
    assert_same(store, uninterrupted)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGTERM, 143, id="sigterm"),
        pytest.param(signal.SIGINT, 130, id="sigint", marks=pytest.mark.slow),
    ],
)
def test_asked_to_stop_a_run_ends_with_a_line_and_can_go_on(
    number: signal.Signals, code: int, recipe: Path, store: Path, uninterrupted: Path
) -> None:
    command = start(recipe, store, partial(faults.slow_jobs, 0.2))
    command.until(lambda: len(list(store.glob("records/*/*.json"))) > 5)
    command.send(number)
    command.send(number)
    ended = command.ended()
    assert ended.code == code, ended.said
    assert ended.said.splitlines()[-1] == "mlprune: stopped; run the same command again to resume"
    assert "Traceback" not in ended.said
    assert not list(store.glob("claims/*/*.json"))
    assert_next_run_completes(recipe, store, uninterrupted)


@pytest.mark.ray
@pytest.mark.slow
def test_a_job_that_kills_its_worker_every_time_is_tried_a_bounded_number_of_times(
    cluster: Cluster, recipe: Path, store: Path, uninterrupted: Path
) -> None:
    there = partial(faults.on_cluster, cluster.settings)
    ended = start(recipe, store, there, faults.deadly_sweeps, address=cluster.address).ended(PATIENCE_S)
    assert ended.code == 3, ended.said
    assert [(row["error"], row["attempts"]) for row in failures(store)] == [("WorkerLostError", 3)]
    assert_next_run_completes(recipe, store, uninterrupted)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, 1.0, 2.0, 4.0])
def test_asked_to_stop_on_ray_at_any_moment_a_run_ends_with_a_line(
    delay_s: float, cluster: Cluster, recipe: Path, store: Path, uninterrupted: Path
) -> None:
    there = partial(faults.on_cluster, cluster.settings)
    command = start(recipe, store, there, address=cluster.address)
    command.until(lambda: list(store.glob("runs/*/planned.json")), patience_s=PATIENCE_S)
    time.sleep(delay_s)
    for _ in range(3):
        command.send(signal.SIGTERM)
        time.sleep(0.1)
    ended = command.ended(PATIENCE_S)
    assert ended.code in (143, 0), ended.said  # it may have been done before
    assert ended.code == 0 or "mlprune: stopped" in ended.said.splitlines()[-1]
    assert "Traceback" not in ended.said
    assert_next_run_completes(recipe, store, uninterrupted)


# Want of memory


def python_memory() -> Exception:
    return MemoryError("16 GiB")


def gpu_memory() -> Exception:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def cpu_memory() -> Exception:
    return RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")


def system_memory() -> Exception:
    return OSError(errno.ENOMEM, "Cannot allocate memory")


def jobs_of(store: Path, step: str) -> list[dict[str, Any]]:
    """Files of the jobs of a step, in the order in which they ended."""
    files = sorted(store.glob("runs/*/job-*.json"), key=lambda path: int(path.stem.partition("-")[2]))
    return [row for path in files if (row := json.loads(path.read_text()))["step"] == step]


@pytest.mark.parametrize("error", [gpu_memory, pytest.param(cpu_memory, marks=pytest.mark.slow)])
def test_out_of_memory_halves_the_batches_then_offloads_and_the_run_file_says_so(
    error: Callable[[], Exception], recipe: Path, store: Path, uninterrupted: Path
) -> None:
    ended = run(recipe, store, partial(faults.in_jobs, error, of="observe", times=2))
    assert ended.code == 0, ended.said
    tries = [(row["status"], row["batch_tokens"], row["relief"]) for row in jobs_of(store, "observe")]
    assert tries == [("lost", 128, "as planned"), ("lost", 64, "half batches"), ("done", 64, "offloaded")]
    assert set(results(store)) == set(results(uninterrupted))
    assert check(Store(store)) == ([], [])


def likelihoods(store: Path) -> dict[str, list[float]]:
    """Evaluation -> log-likelihoods of its candidates."""
    opened = Store(store)
    artefacts = {record.id: record.artefacts[0] for record in opened.records("evaluations")}
    return {name: opened.read_table(one, ["log_likelihood"])["log_likelihood"] for name, one in artefacts.items()}


def test_halved_batches_change_log_likelihoods_by_less_than_a_ten_thousandth(
    recipe: Path, store: Path, uninterrupted: Path
) -> None:
    ended = run(recipe, store, partial(faults.in_jobs, gpu_memory, of="evaluate", times=1))
    assert ended.code == 0, ended.said
    assert "half batches" in {row["relief"] for row in jobs_of(store, "evaluate")}
    found, expected = likelihoods(store), likelihoods(uninterrupted)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=1e-4)


@pytest.mark.parametrize("error", [python_memory, pytest.param(system_memory, marks=pytest.mark.slow)])
def test_out_of_memory_for_good_fails_with_the_advice(
    error: Callable[[], Exception], recipe: Path, store: Path, uninterrupted: Path
) -> None:
    ended = run(recipe, store, partial(faults.in_jobs, error, of="sweep"))
    assert ended.code == 3, ended.said
    (row,) = failures(store)
    assert (row["error"], row["attempts"]) == ("OutOfMemoryError", 3)
    assert "compute: {batch_tokens: 32}; 64 did not fit" in row["message"]
    assert_next_run_completes(recipe, store, uninterrupted)
