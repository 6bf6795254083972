"""Commands that plan, list, demonstrate and diagnose."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mlprune
from mlprune.cache_folders import MODEL_CACHE_VARIABLE
from mlprune.errors import BadInputError, HubError
from mlprune.methods import SCORES
from mlprune.planning.resources.node_capacity import Gpu, Node
from mlprune.recipe import combinations
from ray_jobs.cli.application import app
from ray_jobs.cli.commands import demo
from ray_jobs.cli.commands.demo import run_demo
from ray_jobs.cli.commands.plan import plan, require_hub_for_import
from ray_jobs.cli.commands.run import run
from ray_jobs.cli.options import called_program
from ray_jobs.driver import describe_recipe
from ray_jobs.driver.workplace import Machines
from tests.hub import use_hub
from tests.plugin_packages import CUBIC
from tests.refusals import refused
from tests.tiny_recipes import FinishedRun, copy_of, small_recipe, write_recipe


def test_a_running_cluster_is_asked_for_its_nodes(
    own_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[object] = []

    @contextmanager
    def machines(address: str, labels: Mapping[str, str]) -> Iterator[Machines]:
        asked.append((address, dict(labels)))
        yield Machines([Node(8.0, 2**34, (Gpu(2**35, "NVIDIA L40S"),))] * 3)

    monkeypatch.setattr(describe_recipe, "machines", machines)
    recipe = small_recipe()
    recipe["compute"] |= {"node_labels": {"zone": "x"}}
    plan(write_recipe(own_inputs, recipe, name="asked.yaml"), store=str(tmp_path / "store"), address="auto")
    text = capsys.readouterr().out
    assert asked == [("auto", {"zone": "x"})]
    assert "nodes:  3 x (8 CPUs, 16.0 GiB, 1 NVIDIA L40S)" in text
    assert "stated for L40S in bfloat16" in text


def test_machines_are_described_or_asked_for_but_not_both(own_inputs: Path, tmp_path: Path) -> None:
    recipe = write_recipe(own_inputs, small_recipe(), name="both.yaml")
    with pytest.raises(BadInputError, match="either"):
        plan(recipe, store=str(tmp_path / "store"), cluster="(4 CPU, 8 GiB)", address="auto")


@pytest.mark.thorough("runs commands that start or finish runs")
@pytest.mark.parametrize(
    ("processors", "n_warnings"),
    [({}, 0), ({"EPYC with AVX512": 3}, 0), ({"EPYC with AVX512": 2, "Xeon with AVX2": 1}, 1)],
)
def test_nodes_with_different_processors_are_one_warning(
    own_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processors: Mapping[str, int], n_warnings: int
) -> None:
    class Cluster(Machines):
        def processors(self) -> Mapping[str, int]:
            return processors

    monkeypatch.setattr(describe_recipe, "machines", lambda *_: nullcontext(Cluster([Node(8.0, 2**34)] * 3)))
    recipe = write_recipe(own_inputs, small_recipe(), name="mixed.yaml")
    described = describe_recipe.describe_recipe(recipe, str(tmp_path / "store"), place=describe_recipe.Place("auto"))
    lines = [line for line in described.text.splitlines() if line.startswith("warning:")]
    assert len(lines) == n_warnings
    assert all(processor in line for line in lines for processor in processors)


@pytest.mark.thorough("runs commands that start or finish runs")
def test_a_recipe_with_too_many_variants_needs_an_option_and_is_never_asked_about(
    own_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe()
    recipe["variants"] = [{"score": "random", "sparsity": [0.1, 0.2], "seed": list(range(500))}]
    monkeypatch.setattr(combinations, "MOST", 999)
    recipe["evaluations"] = [
        {key: value for key, value in entry.items() if key != "variants"} for entry in recipe["evaluations"]
    ]
    path, store = write_recipe(own_inputs, recipe, name="many.yaml"), str(tmp_path / "store")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the command asks"))
    for call in (
        lambda: plan(path, store=store),
        lambda: run(path, store=store, address="none"),
        lambda: mlprune.plan(path, store=store),
        lambda: mlprune.run(path, store=store, address="none"),
    ):
        with refused(BadInputError, got="1,000"):
            call()
    assert not Path(store).exists()
    monkeypatch.setattr(describe_recipe, "build_plan", lambda given, *_: pytest.fail(f"planned {len(given.variants)}"))
    for accepted in (
        lambda: plan(path, store=store, yes=True),
        lambda: mlprune.plan(path, store=store, allow_many=True),
    ):
        with pytest.raises(pytest.fail.Exception, match="planned 1000"):
            accepted()


def test_the_hub_has_to_answer_unless_the_model_may_be_imported_already(
    own_inputs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(MODEL_CACHE_VARIABLE, raising=False)
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    recipe = write_recipe(own_inputs, {**small_recipe(), "model": {"path": "some/model", "import": True}})
    with pytest.raises(HubError, match="some/model"):
        require_hub_for_import(recipe, str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    require_hub_for_import(recipe, str(tmp_path / "store"))
    monkeypatch.setenv(MODEL_CACHE_VARIABLE, str(tmp_path / "imported"))
    require_hub_for_import(recipe, str(tmp_path / "another-store"))


def test_a_recipe_with_a_folder_needs_no_hub(own_inputs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    require_hub_for_import(write_recipe(own_inputs, small_recipe()), str(tmp_path / "store"))


@pytest.mark.thorough("runs commands that start or finish runs")
@pytest.mark.parametrize("is_full", [False, True])
def test_the_demo_ends_with_answers_the_report_and_two_commands(
    small_run: FinishedRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    is_full: bool,
) -> None:
    copy_of(small_run.store, tmp_path / "store")
    monkeypatch.setattr(demo, "FULL_RECIPE" if is_full else "RECIPE", small_run.recipe_path)
    monkeypatch.setattr(demo, "RECIPE" if is_full else "FULL_RECIPE", tmp_path / "missing.yaml")
    monkeypatch.setattr(sys, "argv", [".venv/bin/mlprune", "demo"])
    monkeypatch.chdir(tmp_path)
    assert run_demo("store", address="none", is_full=is_full) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) + len(err.splitlines()) <= 30
    assert any("Outside English" in line for line in lines)
    assert lines[-5] == "Look: store/report.html"
    assert lines[-3::2] == [
        "  .venv/bin/mlprune query best_by_language --store store",
        "  .venv/bin/mlprune query --store store",
    ]
    assert (tmp_path / "store" / "report.html").exists()


def test_a_program_on_the_search_path_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "mlprune"
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert called_program() == str(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert called_program() == "mlprune"
    monkeypatch.setattr(sys, "argv", ["gone/mlprune"])
    assert called_program() == "gone/mlprune"
    monkeypatch.setattr(sys, "argv", ["pytest"])
    assert called_program() == "mlprune"


def methods(*arguments: str, columns: str = "80") -> str:
    done = CliRunner().invoke(app, ["methods", *arguments], env={"COLUMNS": columns})
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_the_list_fits_the_terminal_and_json_is_complete() -> None:
    for width in (40, 80, 160):
        assert max(map(len, methods(columns=str(width)).splitlines())) <= width
    rows = json.loads(methods("--kind", "score", "--format", "json"))
    assert [row["name"] for row in rows if row["source"] == "built-in"] == list(SCORES)
    assert {"formula", "needs", "cost", "citation"} <= set(rows[0])
    assert methods("--kind", "structure", "--format", "csv").startswith("kind,name,source,")


def test_a_file_is_listed_when_it_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(CUBIC.replace('name="cubic"', 'name="shown"'))
    (row,) = [
        row
        for row in json.loads(methods("--allow-plugins", str(tmp_path / "shown.py"), "--format", "json"))
        if row["name"] == "shown"
    ]
    assert row["source"] == "shown.py"
    assert row["parameters"] == "power=3.0, floor=0.0"


def test_an_unknown_kind_is_refused() -> None:
    done = CliRunner().invoke(app, ["methods", "--kind", "scores"])
    assert done.exit_code != 0
    assert "score" in str(done.exception)


def test_without_arguments_the_table_of_what_goes_together_fits_one_screen() -> None:
    lines = methods(columns="100").splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert all(any(line.startswith(f"{score} ") for line in lines) for score in SCORES)


def test_a_name_shows_its_methods_in_full_and_an_unknown_one_the_nearest() -> None:
    assert "arXiv:2301.00774" in methods("sparsegpt")
    assert [row["kind"] for row in json.loads(methods("wanda", "--format", "json"))] == ["score"]
    done = CliRunner().invoke(app, ["methods", "sparsegtp"])
    assert done.exit_code != 0
    assert "sparsegpt" in str(done.exception)


def test_what_is_missing_sets_the_exit_code_and_json_is_complete(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(
        app, ["check", "machine", "--store", str(tmp_path / "file"), "--address", "none", "--format", "json"]
    )
    rows = json.loads(result.stdout)
    assert result.exit_code == 1
    assert {row["subject"] for row in rows} == {"machine", "gpu", "ray", "store"}
    assert [row["subject"] for row in rows if row["level"] == "missing"] == ["store"]


def test_lines_say_what_is_fine(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", "machine", "--store", str(tmp_path / "new"), "--address", "none"])
    assert result.exit_code == 0
    assert all(line.startswith(("ok ", "warning ", " ")) for line in result.stdout.splitlines())
