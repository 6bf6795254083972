"""What a command imports: a command that computes nothing loads no library that does, for people wait for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlprune.models import facts
from mlprune.plan import build_plan
from mlprune.recipe import load_recipe
from tests.tiny_recipes import FinishedRun

ROOT = Path(__file__).parents[2]
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
    """What a command said on stderr, and which of the large libraries it loaded."""
    command = [sys.executable, "-c", LOADED, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=240)
    return done.stderr


def test_a_finished_recipe_is_found_finished_without_ray_and_without_the_code_of_its_model(
    small_run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "SETTLED_S", -3600.0)  # the model was made just now
    build_plan(load_recipe(small_run.recipe_path))
    said = loaded("run", small_run.recipe_path, "--store", small_run.store.uri, "--address", "local")
    assert "nothing to do" in said
    assert "loaded: ['torch']" in said


@pytest.mark.parametrize("command", [["status"], ["query", "failures"]])
def test_questions_about_a_store_load_none_of_them(command: list[str], small_run: FinishedRun) -> None:
    assert "loaded: []" in loaded(*command, "--store", small_run.store.uri)
