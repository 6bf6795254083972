"""`import mlprune` is light, and its functions plan and run recipes like the commands."""

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import mlprune
import mlprune.plan
from mlprune.api import RecipePlan
from mlprune.errors import BadInputError, JobsFailedError, RecipeError
from mlprune.plan.pending import NO_REMAKE, Remake
from mlprune.store.store import Store
from ray_jobs.cli.plan_text import described_plan
from ray_jobs.driver.run_state import DONE, SOME_FAILED, RunSummary
from tests.tiny_recipes import results, small_recipe, write_recipe

ROOT = Path(__file__).parents[3]
LIBRARIES = [
    "torch",
    "numpy",
    "duckdb",
    "pyarrow",
    "ray",
    "transformers",
    "catalog",
    "ray_jobs",
    "pandas",
    "polars",
    "rich",
    "typer",
]


def test_importing_the_package_and_its_interface_loads_no_library() -> None:
    code = "import sys, mlprune; n = len(sys.modules); mlprune.open; print(n, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    n_first, *names = done.stdout.split()
    assert not set(LIBRARIES) & {name.partition(".")[0] for name in names}
    assert int(n_first) < 80


def test_the_package_plan_can_be_called_and_stays_a_package(tiny_inputs: Path, tmp_path: Path) -> None:
    assert isinstance(mlprune.plan, types.ModuleType)
    assert callable(mlprune.plan.build_plan)
    assert {"open", "plan", "run"} <= set(dir(mlprune))
    with pytest.raises(AttributeError, match="opem"):
        mlprune.opem  # noqa: B018
    recipe = write_recipe(tiny_inputs, small_recipe(), name="small.yaml")
    planned = mlprune.plan(recipe, store=tmp_path / "store", cluster="1x(4 CPU, 16 GiB)")
    assert isinstance(planned, RecipePlan)
    lines = described_plan(recipe, str(tmp_path / "store")).text.splitlines()
    n_steps = len(planned.steps)
    assert planned.text.splitlines()[: n_steps + 1] == lines[: n_steps + 1]
    assert "4 CPU" in planned.text
    assert str(planned) == planned.text
    assert planned.n_variants == 4
    assert planned.n_to_do == sum(step.n_jobs for step in planned.steps) > 0
    assert "evaluate" in planned._repr_html_()
    assert not (tmp_path / "store").exists()


def test_a_finished_recipe_has_nothing_to_do_as_a_file_and_as_a_mapping(
    tiny_inputs: Path, filled_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_inputs)
    recipe = small_recipe()
    recipe["variants"] = tuple(recipe["variants"])
    recipe["model"] = {"path": Path("model")}
    planned = mlprune.plan(recipe, store=filled_folder)
    assert planned.n_to_do == 0
    before = results(Store(filled_folder))
    with mlprune.run(recipe, store=filled_folder, address="none") as store:
        assert len(store.variants()) == 4
    assert results(Store(filled_folder)) == before


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"variants": [{"score": "wnda"}]}, RecipeError),
        ({"model": {"path": object()}}, RecipeError),
        ({"folder": "."}, RecipeError),
    ],
)
def test_a_wrong_recipe_is_refused(tiny_inputs: Path, tmp_path: Path, change: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        mlprune.plan({**small_recipe(), **change}, store=tmp_path / "store")
    with pytest.raises(BadInputError):
        mlprune.plan(tiny_inputs / "no-recipe.yaml", store=tmp_path / "store")
    with pytest.raises(BadInputError, match="shrink"):
        mlprune.plan(tiny_inputs / "small.yaml", store=tmp_path / "store", shrink=0)
    with pytest.raises(BadInputError, match="cluster"):
        mlprune.plan(tiny_inputs / "small.yaml", store=tmp_path, cluster="1x(1 CPU, 1 GiB)", address="auto")
    assert not (tmp_path / "store").exists()


def test_failed_jobs_and_interruptions_reach_the_script(
    tiny_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray_jobs.driver import run_recipe  # noqa: PLC0415 - replaced here

    summary = RunSummary(SOME_FAILED, 3, 2, 1)
    monkeypatch.setattr(run_recipe, "run_recipe", lambda *_, **__: summary)
    with pytest.raises(JobsFailedError) as error:
        mlprune.run(tiny_inputs / "small.yaml", store=tmp_path / "store")
    assert error.value.context["failed"] == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, NO_REMAKE),
        ({"remake": True}, Remake(is_wanted=True)),
        ({"remake_only": ["wanda-50"]}, Remake(is_wanted=True, variants=("wanda-50",))),
    ],
)
def test_a_run_makes_retired_files_again_if_asked(
    filled_folder: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], expected: Remake
) -> None:
    from ray_jobs.driver import run_recipe  # noqa: PLC0415 - replaced here

    given: list[object] = []

    def run(*_: object, remake: Remake, **__: object) -> RunSummary:
        given.append(remake)
        return RunSummary(DONE, 0, 0, 0)

    monkeypatch.setattr(run_recipe, "run_recipe", run)
    mlprune.run({}, store=filled_folder, **options).close()
    assert given == [expected]


def test_an_interrupted_run_raises_and_the_same_call_resumes_it(
    tiny_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlprune.steps.evaluate.model_evaluation import EvaluateJob  # noqa: PLC0415 - interrupted here

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    recipe = write_recipe(tiny_inputs, {**small_recipe(), "variants": []}, name="stopped.yaml")
    with monkeypatch.context() as patch:
        patch.setattr(EvaluateJob, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mlprune.run(recipe, store=tmp_path / "store", address="none")
    store = Store(tmp_path / "store")
    assert not store.record_names("evaluations")
    assert not store.list("claims")
    opened = mlprune.run(recipe, store=tmp_path / "store", address="none")
    assert set(opened.evaluations()["language"]) == {"en", "fr"}
    assert opened.model_folder("dense") == tiny_inputs / "model"
