"""The command line: exit codes, one-line errors and output that scripts can read."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mlprune.errors import StoreError
from mlprune.store.store import Store
from ray_jobs.cli import application
from ray_jobs.cli.application import TerminalHandler, app
from ray_jobs.cli.command_line import load_command
from ray_jobs.cli.command_table import COMMANDS
from tests.command_line import Done
from tests.forked_runs import mlprune
from tests.tiny_recipes import FinishedRun, method_recipe, small_recipe, tiny_recipe, write_recipe

ROOT = Path(__file__).parents[3]


def new_process(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, in a new Python process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", "ray_jobs.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False, timeout=900)


def changed(**changes: Any) -> dict[str, Any]:
    return {**small_recipe(), **changes}


def variant(**keys: Any) -> dict[str, Any]:
    return {"demonstrations": "mt", "score": "wanda", "sparsity": 0.5, **keys}


TEMPLATE = {"name": "mood", "template": "{text}", "answer": "label", "labels": ["bad", "good"]}
BAD_RECIPES = {
    "unknown key": (changed(sparsty=1), "sparsty"),
    "unknown block": (changed(variants=[variant(scope={"blocks": "1-7"})]), "0 to 2"),
    "missing language": (
        changed(evaluations=[{"task": "facts", "path": "facts", "languages": ["en", "de"]}]),
        "de.test.jsonl",
    ),
    "unreadable model": (changed(model={"path": "./nowhere"}), "nowhere"),
    "a template without candidate in a task that is not used": (changed(tasks=[TEMPLATE]), "a template is wrong"),
}
"""A refusal of the recipe, of each stage of the plan and of each input; each one has tests next to its code."""


@pytest.mark.thorough("runs commands that start or finish runs")
@pytest.mark.parametrize("name", BAD_RECIPES)
def test_a_bad_recipe_gives_one_line_and_exit_code_2_and_nothing_is_written(
    name: str, own_inputs: Path, here: Callable[..., Done]
) -> None:
    recipe, hint = BAD_RECIPES[name]
    path = write_recipe(own_inputs, recipe)
    done = here("run", path, "--store", own_inputs / "store", "--address", "none")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert hint in done.err
    assert not (own_inputs / "store").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--width", "-1"], ["No such option", "mlprune --help"]),
        (["nonsense"], ["No such command", "nonsense"]),
        (["plan"], ["Missing argument", "plan --help"]),
        (["run", "recipe.yaml"], ["--store", "run --help"]),
        (["query", "--limit", "-1", "--store", "s"], ["--limit", "query --help"]),
        (["status", "--store", "s", "--last", "-1"], ["'--last': expected at least 1; see", "status --help"]),
        (["plan", "r.yaml", "--store", "s", "--shrink", "0"], ["'--shrink': expected at least 1; see"]),
        (["plan", "r.yaml", "--store", "s", "--shrink", "x"], ["'--shrink': expected a value of type integer; see"]),
        (["import", "some/model", "--out", ""], ["an argument is empty", "''"]),
        (["import", "", "--out", "model"], ["an argument is empty", "''"]),
    ],
)
def test_a_wrong_command_line_is_one_line(arguments: list[str], parts: list[str], here: Callable[..., Done]) -> None:
    done = here(*arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert all(part in done.err for part in parts)


def test_a_store_without_name_is_refused(own_inputs: Path, here: Callable[..., Done]) -> None:
    done = here("plan", write_recipe(own_inputs, small_recipe()), "--store", "")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "no name" in done.err


def test_a_wrong_label_in_a_task_file_names_file_and_line(own_inputs: Path, here: Callable[..., Done]) -> None:
    file = own_inputs / "facts" / "fr.test.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), "answer": 7})
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = here("run", write_recipe(own_inputs, small_recipe()), "--store", own_inputs / "s", "--address", "none")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "fr.test.jsonl" in done.err
    assert "line=3" in done.err
    assert not (own_inputs / "s").exists()


@pytest.mark.thorough("runs commands that start or finish runs")
@pytest.mark.parametrize(
    ("recipe", "steps"),
    [(tiny_recipe, ("demonstrate", "observe", "sweep", "evaluate")), (method_recipe, ("prune", "sweep", "observe"))],
)
def test_plan_counts_jobs_and_writes_nothing(
    recipe: Callable[[], dict[str, Any]],
    steps: tuple[str, ...],
    tiny_inputs: Path,
    tmp_path: Path,
    here: Callable[..., Done],
) -> None:
    path = write_recipe(tiny_inputs, recipe(), name="planned.yaml")
    done = here("plan", path, "--store", tmp_path / "store")
    assert done.code == 0
    for word in (*steps, "memory", "disk", "time"):
        assert word in done.out
    assert not (tmp_path / "store").exists()


def test_plan_counts_excluded_combinations(tiny_inputs: Path, tmp_path: Path, here: Callable[..., Done]) -> None:
    grid = {"name": "r", "score": "random", "sparsity": [0.25, 0.5], "seed": [0, 1, 2]}
    recipe = changed(variants=[{**grid, "exclude": [{"sparsity": 0.5, "seed": [1, 2]}]}], evaluations=[])
    path = write_recipe(tiny_inputs, recipe, name="excluding.yaml")
    done = here("plan", path, "--store", tmp_path / "store")
    assert done.code == 0
    assert "5 variants (2 combinations excluded)" in done.out


def verify_arguments(run: FinishedRun, variant_id: str) -> tuple[object, ...]:
    return ("check", "variant", variant_id, "--store", run.store.local_root, "--base-model", run.folder / "model")


def test_verify_prints_equal_and_both_hashes(method_run: FinishedRun, here: Callable[..., Done]) -> None:
    (planned,) = method_run.named("owl", "dense")
    done = here(*verify_arguments(method_run, planned.id))
    mask_sha256 = method_run.row("variants", planned.id)["mask_sha256"]
    assert (done.code, done.out) == (0, f"equal: record {mask_sha256}, rebuilt {mask_sha256}\n")


@pytest.mark.thorough("runs commands that start or finish runs")
def test_verify_of_a_variant_without_masks_is_one_line_and_exit_code_2(
    method_run: FinishedRun, here: Callable[..., Done]
) -> None:
    for variant_id, hint in (
        (method_run.named("sparsegpt")[0].id, "changed weights"),
        (method_run.labelled("dense").id, "the dense model"),
        ("dense", "the dense model"),
        ("0" * 20, "0" * 20),
    ):
        done = here(*verify_arguments(method_run, variant_id))
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert hint in done.err


def test_verify_of_different_masks_ends_1(
    method_run: FinishedRun, copied_store: Any, here: Callable[..., Done]
) -> None:
    store = copied_store(method_run.store)
    (planned,) = method_run.named("ria", "dense")
    record = store.require("variants", planned.id)
    row = {**record.rows["variants"][0], "mask_sha256": "0" * 64}
    store.write_record(replace(record, rows={**record.rows, "variants": [row]}))
    done = here(*verify_arguments(method_run._replace(store=store), planned.id))
    assert done.code == 1
    assert done.out.startswith(f"different: record {'0' * 64}, rebuilt ")


def files_and_times(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}


@pytest.mark.thorough("runs commands that start or finish runs")
def test_a_run_in_this_process_does_not_import_ray_and_a_second_run_does_nothing(
    small_run: FinishedRun, copied_store: Any
) -> None:
    store = copied_store(small_run.store).local_root
    sorted(store.glob("records/comparisons/*.json"))[0].unlink()
    shutil.rmtree(store / "records" / "evaluations")
    arguments = ("run", small_run.recipe_path, "--store", store, "--address", "none")
    done = mlprune(*arguments)
    assert done.returncode == 0, done.stderr
    assert "transformers" in done.modules
    assert "ray" not in done.modules
    before = files_and_times(store)
    again = mlprune(*arguments)
    assert again.returncode == 0
    assert "nothing to do" in again.stderr
    assert files_and_times(store) == before


@pytest.mark.thorough("runs commands that start or finish runs")
def test_query_json_is_one_array_of_objects(queried_store: Store) -> None:
    sql = "SELECT variant_id, sparsity, score FROM variants ORDER BY sparsity, variant_id"
    done = new_process("query", sql, "--store", queried_store.local_root, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("]\n")
    rows = json.loads(done.stdout)
    assert rows[0]["sparsity"] == 0.0
    assert rows[0]["score"] is None
    assert {row["sparsity"] for row in rows} == {0.0, 0.25, 0.5}


@pytest.mark.parametrize(
    ("text", "hint"), [("best_by_langage", "best_by_language"), ("SELECT nothing FROM nowhere", "nowhere")]
)
def test_a_bad_query_is_one_line_and_exit_code_2(
    text: str, hint: str, queried_store: Store, here: Callable[..., Done]
) -> None:
    done = here("query", text, "--store", queried_store.local_root)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert hint in done.err


def test_sql_that_begins_with_a_comment_is_not_an_option(queried_store: Store, here: Callable[..., Done]) -> None:
    sql = "-- how many variants\nSELECT count(*) > 0 AS some FROM variants"
    done = here("query", sql, "--store", queried_store.uri, "--format", "json")
    assert (done.code, json.loads(done.out)) == (0, [{"some": True}])
    wrong = here("query", "--formt=an unknown option", "--store", queried_store.uri)
    assert wrong.code == 2
    assert "formt" in wrong.err


def test_a_query_without_rows_says_why_on_stderr(queried_store: Store, here: Callable[..., Done]) -> None:
    done = here("query", "values_by_variant", "--param", "task=nope", "--store", queried_store.uri, "--format", "csv")
    assert (done.code, done.out.count("\n"), done.err.count("\n")) == (0, 1, 1)
    assert done.err.startswith("No rows for task=nope; the store has ")


def test_a_missing_store_is_bad_input(tmp_path: Path, here: Callable[..., Done]) -> None:
    assert here("query", "failures", "--store", tmp_path / "nothing").code == 2
    assert not (tmp_path / "nothing").exists()


@pytest.mark.thorough("runs commands that start or finish runs")
def test_export_of_an_unknown_variant_and_into_a_full_folder_end_2(
    small_run: FinishedRun, tmp_path: Path, here: Callable[..., Done]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    variant = small_run.rows("variants")[0]["variant_id"]
    options = ("--store", small_run.store.local_root, "--base-model", small_run.folder / "model")
    unknown = here("export", "0" * 20, "--out", tmp_path / "out", *options)
    full = here("export", variant, "--out", tmp_path / "full", *options)
    assert (unknown.code, full.code) == (2, 2)
    assert unknown.err.count("\n") == full.err.count("\n") == 1
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    assert not (tmp_path / "out").exists()


@pytest.mark.thorough("runs commands that start or finish runs")
def test_catalog_check_names_a_damaged_artefact(
    small_run: FinishedRun, copied_store: Any, here: Callable[..., Done]
) -> None:
    store = copied_store(small_run.store).local_root
    mask = sorted(store.glob("masks/*/block-001.parquet"))[0]
    mask.write_bytes(mask.read_bytes()[:-7])
    damaged = here("check", "store", "--store", store)
    assert damaged.code == 1
    assert mask.name in damaged.out


FORMS = [f"{command} {form}" for command, source in COMMANDS.items() for form in source.forms]


@pytest.mark.parametrize("command", [*COMMANDS, *FORMS])
def test_the_help_of_every_command_has_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "Example" in result.stdout
    if "--as" not in command:
        assert f"mlprune {command} " in result.stdout.partition("Example")[2].replace("lm-eval-output/ ", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_summary_of_a_command_is_the_beginning_of_its_help(command: str) -> None:
    summary, text = COMMANDS[command].summary, " ".join((load_command(command).help or "").split())
    assert text.startswith(summary.removesuffix("."))


@pytest.mark.parametrize("error", [RuntimeError("Query interrupted"), StoreError("the file is in use"), SystemExit(3)])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_gives_one_line_whatever_native_code_makes_of_it(
    error: BaseException,
    number: signal.Signals,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(**_: object) -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise error from None

    monkeypatch.setattr(application, "app", interrupted)
    monkeypatch.setattr(sys, "argv", ["mlprune", "status"])
    with pytest.raises(SystemExit) as end:
        application.main()
    assert end.value.code == code
    assert capsys.readouterr().err.count("\n") == 1


def test_an_unexpected_error_without_a_signal_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(application, "app", broken)
    monkeypatch.setattr(sys, "argv", ["mlprune", "status"])
    with pytest.raises(RuntimeError, match="unexpected"):
        application.main()


def test_a_repeated_warning_is_written_once_and_other_lines_every_time(capsys: pytest.CaptureFixture[str]) -> None:
    handler = TerminalHandler()
    for level, text in ((logging.WARNING, "unpaired %s"), (logging.ERROR, "broken %s"), (logging.INFO, "step %s")):
        for value in ("en", "en", "fr"):
            handler.handle(logging.LogRecord("mlprune", level, "", 0, text, (value,), None))
    written = capsys.readouterr().err
    counts = [written.count(text) for text in ("unpaired en", "unpaired fr", "broken en", "step en")]
    assert counts == [1, 1, 2, 2]
