"""The command line as a user meets it: exit codes, one-line errors, output that scripts can read."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_recipes import FinishedRun, small_recipe, tiny_recipe, write_recipe

ROOT = Path(__file__).parents[2]


def mlprune(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", "ray_jobs.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False, timeout=240)


def changed(**changes: Any) -> dict[str, Any]:
    return {**small_recipe(), **changes}


BAD_RECIPES = {
    "unknown key": (changed(sparsty=1), "sparsty"),
    "sparsity 1.0": (
        changed(variants=[{"demonstrations": "mt", "score": "wanda", "sparsity": 1.0}]),
        "less than 1",
    ),
    "unknown score": (changed(variants=[{"demonstrations": "mt", "score": "wonda", "sparsity": 0.5}]), "wonda"),
    "missing language": (
        changed(evaluations=[{"task": "facts", "path": "facts", "languages": ["en", "de"]}]),
        "de.test.jsonl",
    ),
    "unreadable model": (changed(model={"path": "./nowhere"}), "nowhere"),
}


@pytest.mark.parametrize("name", BAD_RECIPES)
def test_a_bad_recipe_gives_one_line_and_exit_code_2_and_nothing_is_written(name: str, own_inputs: Path) -> None:
    recipe, hint = BAD_RECIPES[name]
    path = write_recipe(own_inputs, recipe)
    done = mlprune("run", path, "--store", own_inputs / "store", "--address", "none")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert hint in done.stderr
    assert not (own_inputs / "store").exists()


def test_a_wrong_label_in_a_task_file_names_file_and_line(own_inputs: Path) -> None:
    file = own_inputs / "facts" / "fr.test.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), "answer": 7})
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = mlprune("run", write_recipe(own_inputs, small_recipe()), "--store", own_inputs / "s", "--address", "none")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "fr.test.jsonl" in done.stderr
    assert "line=3" in done.stderr
    assert not (own_inputs / "s").exists()


def test_plan_counts_jobs_and_writes_nothing(tiny_inputs: Path, tmp_path: Path) -> None:
    path = write_recipe(tiny_inputs, tiny_recipe(), name="planned.yaml")
    done = mlprune("plan", path, "--store", tmp_path / "store")
    assert done.returncode == 0
    for word in ("demonstrate", "observe", "sweep", "evaluate", "memory", "disk", "time"):
        assert word in done.stdout
    assert not (tmp_path / "store").exists()


def test_run_here_does_not_import_ray_and_a_second_run_does_nothing(own_inputs: Path) -> None:
    path = write_recipe(own_inputs, small_recipe())
    code = (
        "import sys; from ray_jobs.cli import main\n"
        f"sys.argv = ['mlprune', 'run', {str(path)!r}, '--store', {str(own_inputs / 'store')!r}, '--address', 'none']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'ray' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    before = {path: path.stat().st_mtime_ns for path in (own_inputs / "store").rglob("*") if path.is_file()}
    again = mlprune("run", path, "--store", own_inputs / "store", "--address", "none")
    assert again.returncode == 0
    assert "nothing to do" in again.stderr
    after = {path: path.stat().st_mtime_ns for path in (own_inputs / "store").rglob("*") if path.is_file()}
    assert before == after


def test_query_json_is_one_array_of_objects(tiny_run: FinishedRun) -> None:
    sql = "SELECT variant_id, sparsity, score FROM variants ORDER BY sparsity, variant_id"
    done = mlprune("query", sql, "--store", tiny_run.store.local_root, "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert rows[0]["sparsity"] == 0.0
    assert rows[0]["score"] is None
    assert {row["sparsity"] for row in rows} == {0.0, 0.25, 0.5}


@pytest.mark.parametrize(
    ("text", "hint"), [("best_by_langage", "best_by_language"), ("SELECT nothing FROM nowhere", "nowhere")]
)
def test_a_bad_query_is_one_line_and_exit_code_2(text: str, hint: str, tiny_run: FinishedRun) -> None:
    done = mlprune("query", text, "--store", tiny_run.store.local_root)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert hint in done.stderr


def test_a_store_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    done = mlprune("query", "failures", "--store", tmp_path / "nothing")
    assert done.returncode == 2
    assert not (tmp_path / "nothing").exists()


def test_export_of_an_unknown_variant_and_into_a_full_folder_end_2(tiny_run: FinishedRun, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    variant = tiny_run.rows("variants")[0]["variant_id"]
    model = ("--model", tiny_run.folder / "model")
    unknown = mlprune("export", "0" * 20, tmp_path / "out", "--store", tiny_run.store.local_root, *model)
    full = mlprune("export", variant, tmp_path / "full", "--store", tiny_run.store.local_root, *model)
    assert (unknown.returncode, full.returncode) == (2, 2)
    assert unknown.stderr.count("\n") == full.stderr.count("\n") == 1
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    assert not (tmp_path / "out").exists()


def test_catalog_check_finds_a_damaged_artefact_and_the_next_run_mends_it(own_inputs: Path) -> None:
    path, store = write_recipe(own_inputs, small_recipe()), own_inputs / "store"
    assert mlprune("run", path, "--store", store, "--address", "none").returncode == 0
    assert mlprune("catalog", "check", "--store", store).returncode == 0
    mask = sorted(store.glob("masks/*/block-001.parquet"))[0]
    mask.write_bytes(mask.read_bytes()[:-7])
    damaged = mlprune("catalog", "check", "--store", store)
    assert damaged.returncode == 1
    assert mask.name in damaged.stdout
    assert mlprune("run", path, "--store", store, "--address", "none").returncode == 0
    assert mlprune("catalog", "check", "--store", store).returncode == 0


@pytest.mark.parametrize("command", ["demo", "plan", "run", "export", "query", "report"])
def test_every_command_teaches_with_an_example(command: str) -> None:
    done = mlprune(command, "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert f"mlprune {command}" in done.stdout
