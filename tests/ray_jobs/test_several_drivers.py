"""Five runs of five recipes in one store, while a command and a notebook query it: no job is lost or done twice."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from catalog.check import check
from catalog.store import Catalog
from mlprune.store.store import Store
from tests.forked_runs import ROOT, ForkedRun, Gate, mlprune
from tests.ray_jobs.test_two_drivers import runs_that_worked, times_run
from tests.tiny_recipes import FinishedRun, plan_of, shared_results, small_recipe, tiny_recipe, write_recipe

N_DRIVERS = 5
COUNTS = "SELECT count(*) AS n, count(*) FILTER (kind = 'evaluations') AS folded FROM records"
SOUND = f"SELECT n, folded, (SELECT count(*) FROM evaluations) AS evaluations FROM ({COUNTS})"
"""One row. A fold is one transaction, so the last two numbers are equal at any time."""
TIMEOUT_S = 600.0
QUERY_INTERVAL_S = 0.5

Start = Callable[..., ForkedRun]


class Readers:
    """A command and a notebook that repeat the query `SOUND` while the runs are active."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._is_over = threading.Event()
        self.command: list[dict[str, int]] = []
        """Answers of `mlprune query`."""
        self.notebook: list[dict[str, int]] = []
        """Answers of DuckDB's own client, which does not wait for locks."""

    @contextmanager
    def querying(self) -> Iterator[None]:
        """Query until the end of the context."""
        with ThreadPoolExecutor() as pool:
            queries = [pool.submit(ask) for ask in (self._ask_command, self._ask_in_notebook)]
            try:
                yield
            finally:
                self._is_over.set()
            for query in queries:
                query.result(TIMEOUT_S)

    def wait_for_answers(self) -> None:
        """Wait until both have got answers, however long the catalog is locked and queries take."""
        deadline = time.monotonic() + TIMEOUT_S
        while not (self.command and self.notebook):
            assert time.monotonic() < deadline
            time.sleep(QUERY_INTERVAL_S / 10)

    def assert_sound(self) -> None:
        """Check that the answers only grew and never showed half of a fold."""
        for answers in (self.command, self.notebook):
            assert answers
            counts = [answer["n"] for answer in answers]
            assert counts == sorted(counts)
            assert all(answer["folded"] == answer["evaluations"] for answer in answers)

    def _ask_command(self) -> None:
        while not self._is_over.is_set():
            if (self._store / "records").exists():
                done = mlprune("query", SOUND, "--store", self._store, "--format", "json")
                assert done.returncode == 0, done.stderr
                self.command += json.loads(done.stdout)
            time.sleep(QUERY_INTERVAL_S)

    def _ask_in_notebook(self) -> None:
        while not self._is_over.is_set():
            try:
                with duckdb.connect(str(self._store / "catalog.duckdb"), read_only=True) as connection:
                    row: Any = connection.execute(SOUND).fetchone()
            except duckdb.Error:  # a run writes, or the file does not exist yet
                time.sleep(QUERY_INTERVAL_S / 10)
                continue
            self.notebook.append(dict(zip(("n", "folded", "evaluations"), row, strict=True)))
            time.sleep(QUERY_INTERVAL_S)


def five_recipes(folder: Path, recipe: dict[str, Any]) -> list[Path]:
    """A recipe and, for each driver, a variant of its own."""
    paths = []
    for n in range(N_DRIVERS):
        variant = {"name": "own", "score": "random", "sparsity": 0.5, "seed": [10 + n]}
        named = {**recipe, "name": f"driver-{n}", "variants": [*recipe["variants"], variant]}
        paths.append(write_recipe(folder, named, name=f"driver-{n}.yaml"))
    return paths


def assert_nothing_is_lost_or_done_twice(store: Store, recipes: list[Path], *, n_killed: int = 0) -> None:
    """Check that all records exist and are sound, every job was done once, and the catalog equals a rebuilt one.

    A killed run may lose the log entry of a job that it has done, and two others may take over its claim.
    """
    plans = [plan_of(recipe) for recipe in recipes]
    jobs = {" ".join(job.makes[-1]) for plan in plans for job in plan.jobs}
    names = {key for plan in plans for job in plan.jobs for key in job.makes}
    names |= {(plan.record.kind, plan.record.id) for plan in plans}
    present = set(store.record_names())
    assert {kind for kind, _ in present - names} <= {"mask_blocks"}, "intermediate records of a sweep"
    assert present >= names
    times = times_run(store)
    assert set(times) <= jobs
    assert len(jobs) - n_killed <= len(times)
    assert times.total() <= len(jobs) + n_killed
    assert store.list("claims") == []
    assert check(store) == ([], [])
    with Catalog.open(store) as catalog, Catalog.in_memory(store) as fresh:
        assert catalog.fold().persisted
        assert catalog.fingerprints() == fresh.fingerprints()
        assert catalog.query(COUNTS) == fresh.query(COUNTS)
        assert catalog.query(COUNTS)[0]["n"] == len(present)


@pytest.mark.thorough("runs several drivers")
def test_five_drivers_share_one_store_during_queries(small_run: FinishedRun, tmp_path: Path, start: Start) -> None:
    recipes = five_recipes(small_run.folder, small_recipe())
    store, gate, readers = tmp_path / "store", Gate.closed(tmp_path / "gate", "evaluate"), Readers(tmp_path / "store")
    with readers.querying():
        runs = [start(recipe, store, gate=gate, stale_after_s=TIMEOUT_S) for recipe in recipes]
        runs[0].until(lambda: len(gate.waiting()) == N_DRIVERS)  # each of them has a job of its own
        readers.wait_for_answers()
        gate.open()
        for run in runs:
            run.finish()
    readers.assert_sound()
    assert_nothing_is_lost_or_done_twice(Store(store), recipes)
    assert len(runs_that_worked(Store(store))) == N_DRIVERS
    files, alone = shared_results(store), shared_results(small_run.store)
    assert [path for path in alone if files.get(path) != alone[path]] == []


@pytest.mark.slow
def test_five_command_lines_some_of_them_killed_finish_one_store(tiny_run: FinishedRun, tmp_path: Path) -> None:
    """Real command lines: `mlprune run`, `kill -9`, the same command again."""
    recipes = five_recipes(tiny_run.folder, tiny_recipe())
    store, readers = tmp_path / "store", Readers(tmp_path / "store")

    def run(recipe: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ray_jobs.cli", "run", recipe, "--store", store, "--address", "none"]
        with (tmp_path / f"{recipe.stem}.log").open("a") as log:
            return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=log)

    with readers.querying():
        runs = [run(recipe) for recipe in recipes]
        for victim, n_evaluations in ((1, 5), (3, 20)):
            while len(list(store.glob("records/evaluations/*.json"))) < n_evaluations:
                assert runs[victim].poll() is None
                time.sleep(0.05)
            runs[victim].kill()
            runs[victim].wait()
            runs[victim] = run(recipes[victim])
        assert [process.wait(TIMEOUT_S) for process in runs] == [0] * N_DRIVERS
        readers.wait_for_answers()
    readers.assert_sound()
    assert_nothing_is_lost_or_done_twice(Store(store), recipes, n_killed=2)
