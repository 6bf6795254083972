"""Fixtures of tests that run recipes: starting runs, and a Ray cluster."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlprune.store.store import Store
from ray_jobs.cli.application import main
from tests.command_line import Done
from tests.forked_runs import ForkedRun
from tests.ray_cluster import Cluster, ray_cluster

if TYPE_CHECKING:
    from tests.conftest import MakeOnce
    from tests.tiny_recipes import FinishedRun


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of two nodes with one CPU each. A test that adds a node, or kills one, removes it again.

    It ends with the tests of a file: an idle cluster takes 7 % of a core.
    """
    with ray_cluster() as started:
        yield started


@pytest.fixture
def on_cluster(cluster: Cluster) -> dict[str, Any]:
    """Options of a run on the cluster."""
    cluster.require_nodes()
    return {"address": cluster.address, "environment": cluster.settings}


@pytest.fixture(scope="session")
def queried_store(small_run: "FinishedRun", make_once: "MakeOnce") -> Store:
    """A copy of the store of the small run, with its catalog. Tests ask it questions, and change nothing."""

    from catalog.store import Catalog  # noqa: PLC0415 - most tests need not wait for DuckDB and torch
    from tests.tiny_recipes import copy_of  # noqa: PLC0415

    def make(folder: Path) -> None:
        with Catalog.open(copy_of(small_run.store, folder / "store")) as catalog:
            catalog.fold()

    return Store(make_once("queried", make) / "store")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ForkedRun]]:
    """A function that starts a run until the end of the test; takes the arguments of `ForkedRun` without the log."""
    runs: list[ForkedRun] = []

    def start_one(recipe: Path, store: Path | str, **options: Any) -> ForkedRun:
        runs.append(ForkedRun(recipe, store, log=tmp_path / f"{len(runs)}.log", **options))
        return runs[-1]

    yield start_one
    for run in runs:
        run.end()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """A function that runs the command line in this process, which is faster than a process of its own."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["mlprune", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return Done(int(end.value.code or 0), *capsys.readouterr())

    return run
