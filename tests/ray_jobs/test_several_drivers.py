"""Five runs of five recipes in one store at once, while a command and a notebook ask: nothing is lost or done twice.

What two runs do to each other is in `test_two_drivers.py`.
"""

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
from tests.tiny_recipes import FinishedRun, plan_of, results, small_recipe, tiny_recipe, write_recipe

N_DRIVERS = 5
COUNTS = "SELECT count(*) AS n, count(*) FILTER (kind = 'evaluations') AS folded FROM records"
SOUND = f"SELECT n, folded, (SELECT count(*) FROM evaluations) AS evaluations FROM ({COUNTS})"
"""One row; a fold is one transaction, so the last two numbers are equal whenever one looks."""
PATIENCE_S = 600.0
ASK_EVERY_S = 0.2

Start = Callable[..., ForkedRun]


class Readers:
    """What those saw who asked while the runs were at work: `SOUND`, again and again."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._is_over = threading.Event()
        self.command: list[dict[str, int]] = []
        """Answers of `mlprune query`."""
        self.notebook: list[dict[str, int]] = []
        """Answers of DuckDB's own client, which waits for nobody."""

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """They ask until the end of the context, and both have to get answers."""
        with ThreadPoolExecutor() as pool:
            asking = [pool.submit(one) for one in (self._ask_command, self._ask_in_notebook)]
            try:
                yield
            finally:
                self._is_over.set()
            for one in asking:
                one.result(PATIENCE_S)

    def assert_sound(self) -> None:
        """What they saw only grew, and was at no time half of a fold."""
        for answers in (self.command, self.notebook):
            assert answers
            seen = [one["n"] for one in answers]
            assert seen == sorted(seen)
            assert all(one["folded"] == one["evaluations"] for one in answers)

    def _ask_command(self) -> None:
        while not self._is_over.is_set():
            if (self._store / "records").exists():
                done = mlprune("query", SOUND, "--store", self._store, "--format", "json")
                assert done.returncode == 0, done.stderr
                self.command += json.loads(done.stdout)
            time.sleep(ASK_EVERY_S)

    def _ask_in_notebook(self) -> None:
        while not self._is_over.is_set():
            try:
                with duckdb.connect(str(self._store / "catalog.duckdb"), read_only=True) as connection:
                    row: Any = connection.execute(SOUND).fetchone()
            except duckdb.Error:  # somebody writes, or nobody has yet
                time.sleep(ASK_EVERY_S / 10)
                continue
            self.notebook.append(dict(zip(("n", "folded", "evaluations"), row, strict=True)))
            time.sleep(ASK_EVERY_S)


def five_recipes(folder: Path, recipe: dict[str, Any]) -> list[Path]:
    """A recipe and, for each driver, something of its own."""
    own = [{"name": "own", "score": "random", "sparsity": 0.5, "seed": [10 + n]} for n in range(N_DRIVERS)]
    recipes = [{**recipe, "name": f"driver-{n}", "variants": [*recipe["variants"], one]} for n, one in enumerate(own)]
    return [write_recipe(folder, one, name=f"{one['name']}.yaml") for one in recipes]


def assert_nothing_is_lost_or_done_twice(store: Store, recipes: list[Path], *, n_killed: int = 0) -> None:
    """All records of all recipes are there and sound, every job was done once, and the catalog is one made anew.

    A run that is killed may take along the note of a job that it has done, and two others may take over its claim.
    """
    plans = [plan_of(recipe) for recipe in recipes]
    jobs = {" ".join(job.makes[-1]) for plan in plans for job in plan.jobs}
    names = {key for plan in plans for job in plan.jobs for key in job.makes}
    names |= {(plan.record.kind, plan.record.id) for plan in plans}
    found = set(store.record_names())
    assert {kind for kind, _ in found - names} <= {"mask_blocks"}, "what a sweep keeps on its way"
    assert found >= names
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
        assert catalog.query(COUNTS)[0]["n"] == len(found)


def test_five_drivers_share_one_store_while_others_ask(small_run: FinishedRun, tmp_path: Path, start: Start) -> None:
    recipes = five_recipes(small_run.folder, small_recipe())
    store, gate, readers = tmp_path / "store", Gate.closed(tmp_path / "gate", "evaluate"), Readers(tmp_path / "store")
    with readers.at_work():
        runs = [start(recipe, store, gate=gate) for recipe in recipes]
        runs[0].until(lambda: len(gate.waiting()) == N_DRIVERS)  # all of them are at work, each at another job
        gate.open()
        for run in runs:
            run.finish()
    readers.assert_sound()
    assert_nothing_is_lost_or_done_twice(Store(store), recipes)
    assert len(runs_that_worked(Store(store))) == N_DRIVERS
    found, alone = results(store), results(small_run.store)
    assert [path for path in alone if found.get(path) != alone[path] and "/recipes/" not in path] == []


@pytest.mark.slow
def test_five_command_lines_some_of_them_killed_finish_one_store(tiny_run: FinishedRun, tmp_path: Path) -> None:
    """Nothing of the tests in them: `mlprune run`, `kill -9`, the same command again."""
    recipes = five_recipes(tiny_run.folder, tiny_recipe())
    store, readers = tmp_path / "store", Readers(tmp_path / "store")

    def run(recipe: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ray_jobs.cli", "run", recipe, "--store", store, "--address", "none"]
        with (tmp_path / f"{recipe.stem}.log").open("a") as log:
            return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=log)

    with readers.at_work():
        runs = [run(recipe) for recipe in recipes]
        for victim, n_evaluations in ((1, 5), (3, 20)):
            while len(list(store.glob("records/evaluations/*.json"))) < n_evaluations:
                assert runs[victim].poll() is None
                time.sleep(0.05)
            runs[victim].kill()
            runs[victim].wait()
            runs[victim] = run(recipes[victim])
        assert [one.wait(PATIENCE_S) for one in runs] == [0] * N_DRIVERS
    readers.assert_sound()
    assert_nothing_is_lost_or_done_twice(Store(store), recipes, n_killed=2)
