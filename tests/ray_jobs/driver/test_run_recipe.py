"""Runs of recipes: what is imported for them, and how a run without workers ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mlprune.errors import BadInputError
from mlprune.models import metadata_cache
from mlprune.plan import build_plan
from mlprune.plan.estimate import Needs
from mlprune.recipe import load_recipe
from mlprune.store.store import Store
from ray_jobs.driver.run_recipe import run_recipe
from ray_jobs.workers import in_process
from tests.earlier_versions import to_version_4
from tests.tiny_recipes import FinishedRun, copy_of, small_recipe, write_recipe

ROOT = Path(__file__).parents[3]
LOADED = """
import sys
from ray_jobs.cli import main
sys.argv = ["mlprune", *sys.argv[1:]]
try:
    main()
finally:
    print("loaded:", sorted({"torch", "transformers", "accelerate", "ray"} & set(sys.modules)), file=sys.stderr)
"""


def loaded(*arguments: object) -> str:
    """stderr of a command, with the large libraries that it loaded."""
    command = [sys.executable, "-c", LOADED, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=900)
    return done.stderr


@pytest.fixture(scope="module")
def store_path(small_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A copy of a finished store, in which a catalog may be created."""
    return copy_of(small_run.store, tmp_path_factory.mktemp("running") / "store").uri


def test_a_finished_recipe_loads_neither_ray_nor_the_code_of_its_model(
    small_run: FinishedRun, store_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_cache, "SETTLED_S", -3600.0)  # the model was made just now
    build_plan(load_recipe(small_run.recipe_path))
    stderr = loaded("run", small_run.recipe_path, "--store", store_path, "--address", "local")
    assert "nothing to do" in stderr
    assert f"next: mlprune query values_by_variant --store {store_path}\n" in stderr
    assert f"      mlprune report --store {store_path} --out report.html\n" in stderr
    assert "loaded: ['torch']" in stderr


@pytest.mark.parametrize("command", [["status"], ["query", "failures"]])
def test_queries_load_none_of_them(command: list[str], store_path: str) -> None:
    assert "loaded: []" in loaded(*command, "--store", store_path)


def test_an_import_without_a_hub_ends_before_the_code_of_models_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    stderr = loaded("import", "facebook/xglm-564M", tmp_path / "out")
    assert "cannot be reached" in stderr
    assert "loaded: []" in stderr


def test_a_run_whose_only_worker_has_a_broken_device_ends_with_code_3_and_its_reason(
    own_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*_: object, **__: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(in_process, "load_model", load)
    summary = run_recipe(write_recipe(own_inputs, small_recipe()), str(tmp_path / "store"), address="none")
    assert (summary.exit_code, summary.n_failed, summary.next_commands) == (3, 0, ())
    assert summary.n_skipped > 0
    assert "illegal memory access" in capsys.readouterr().err


def test_a_run_plans_no_model_for_the_evaluations_that_it_adopts(
    small_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[Needs] = []

    def refuse(needs: Needs, store: Store) -> None:
        planned.append(needs)
        raise BadInputError("the disk is full")

    store = copy_of(small_run.store, tmp_path / "store")
    to_version_4(store)
    monkeypatch.setattr("ray_jobs.driver.run_recipe.require_room", refuse)
    with pytest.raises(BadInputError):
        run_recipe(small_run.recipe_path, store.uri, address="none")
    (needs,) = planned
    assert "evaluate" in {cost.step for cost in needs.costs}
    assert not any(cost.runs_model or cost.flops for cost in needs.costs)
