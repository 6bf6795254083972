"""Fixtures of tests that run recipes: starting runs, and one Ray cluster for the session."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ray_jobs.cli.application import main
from tests.command_line import Done
from tests.forked_runs import ForkedRun
from tests.ray_cluster import Cluster, ray_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of two nodes with one CPU each. A test that adds a node, or kills one, removes it again."""
    with ray_cluster() as started:
        yield started


@pytest.fixture
def on_cluster(cluster: Cluster) -> dict[str, Any]:
    """Options of a run on the cluster."""
    return {"address": cluster.address, "environment": cluster.settings}


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
