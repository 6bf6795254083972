"""The command line as a user meets it: exit codes, one-line errors, output that scripts can read."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ray_jobs.cli.application import COMMANDS, app
from tests.command_line import Done
from tests.forked_runs import mlprune
from tests.tiny_recipes import FinishedRun, copy_of, method_recipe, small_recipe, tiny_recipe, write_recipe

ROOT = Path(__file__).parents[3]


def new_process(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, in a process that imports everything anew; `mlprune` forks one off."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", "ray_jobs.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False, timeout=240)


def changed(**changes: Any) -> dict[str, Any]:
    return {**small_recipe(), **changes}


def variant(**keys: Any) -> dict[str, Any]:
    return {"demonstrations": "mt", "score": "wanda", "sparsity": 0.5, **keys}


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

BAD_METHODS = {
    "an exclude that removes nothing": (changed(variants=[variant(exclude=[{"sparsity": 0.4}])]), "removes nothing"),
    "an exclude that leaves nothing": (changed(variants=[variant(exclude=[{"score": "wanda"}])]), "every combination"),
    "a structure sparsegpt has not": (changed(variants=[variant(score="sparsegpt", structure="row")]), "matrix or N:M"),
    "a block the model has not": (changed(variants=[variant(scope={"blocks": "1-7"})]), "0 to 2"),
    "a layer the model has not": (changed(variants=[variant(schedule={"layers": {"fc9": 0.5}})]), "unknown layer"),
    "more samples than there are": (changed(variants=[variant(samples=5)]), "samples at most 4"),
    "a lone set to aggregate": (
        changed(variants=[variant(demonstrations=None, over=["mt"], aggregate="mean")]),
        "two or more sets",
    ),
    "no variants to combine": (
        changed(variants=[variant(name="a"), {"name": "c", "combine": "union", "of": ["a"]}]),
        "no variants to combine",
    ),
    "combinations in a circle": (
        changed(
            variants=[
                variant(name="a"),
                {"name": "c", "combine": "union", "of": ["a", "d"]},
                {"name": "d", "combine": "union", "of": ["a", "c"]},
            ]
        ),
        "in a cycle",
    ),
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


@pytest.mark.parametrize("name", BAD_METHODS)
def test_a_bad_method_gives_one_line_and_exit_code_2_and_nothing_is_written(
    name: str, own_inputs: Path, here: Callable[..., Done]
) -> None:
    recipe, hint = BAD_METHODS[name]
    path = write_recipe(own_inputs, recipe)
    done = here("run", path, "--store", own_inputs / "store", "--address", "none")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert hint in done.err
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


def test_plan_counts_what_exclude_left_out(tiny_inputs: Path, tmp_path: Path, here: Callable[..., Done]) -> None:
    grid = {"name": "r", "score": "random", "sparsity": [0.25, 0.5], "seed": [0, 1, 2]}
    recipe = changed(variants=[{**grid, "exclude": [{"sparsity": 0.5, "seed": [1, 2]}]}], evaluations=[])
    path = write_recipe(tiny_inputs, recipe, name="excluding.yaml")
    done = here("plan", path, "--store", tmp_path / "store")
    assert done.code == 0
    assert "5 variants (2 combinations excluded)" in done.out


def test_plan_describes_every_method(tiny_inputs: Path, tmp_path: Path, here: Callable[..., Done]) -> None:
    path = write_recipe(tiny_inputs, method_recipe(), name="planned-methods.yaml")
    done = here("plan", path, "--store", tmp_path / "store")
    assert done.code == 0
    for word in ("prune", "sweep", "observe", "memory", "disk", "time"):
        assert word in done.out
    assert not (tmp_path / "store").exists()


def verify_arguments(run: FinishedRun, variant_id: str) -> tuple[object, ...]:
    return ("verify", variant_id, "--store", run.store.local_root, "--model", run.folder / "model")


def test_verify_says_equal_and_both_fingerprints(method_run: FinishedRun) -> None:
    (one,) = method_run.named("owl", "dense")
    done = mlprune(*verify_arguments(method_run, one.id))
    mask_sha256 = method_run.row("variants", one.id)["mask_sha256"]
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"equal: record {mask_sha256}, rebuilt {mask_sha256}\n"


def test_verify_of_what_cannot_be_rebuilt_is_one_line_and_exit_code_2(
    method_run: FinishedRun, here: Callable[..., Done]
) -> None:
    for variant_id, hint in (
        (method_run.named("sparsegpt")[0].id, "changed weights"),
        (method_run.labelled("dense").id, "the dense model"),
        ("0" * 20, "unknown variant"),
    ):
        done = here(*verify_arguments(method_run, variant_id))
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert hint in done.err


def test_verify_of_other_masks_says_different_and_ends_1(
    method_run: FinishedRun, copied_store: Any, here: Callable[..., Done]
) -> None:
    store = copied_store(method_run.store)
    (one,) = method_run.named("ria", "dense")
    record = store.require("variants", one.id)
    row = {**record.rows["variants"][0], "mask_sha256": "0" * 64}
    store.write_record(replace(record, rows={**record.rows, "variants": [row]}))
    done = here(*verify_arguments(method_run._replace(store=store), one.id))
    assert done.code == 1
    assert done.out.startswith(f"different: record {'0' * 64}, rebuilt ")


def test_run_here_does_not_import_ray_and_a_second_run_does_nothing(own_inputs: Path) -> None:
    path = write_recipe(own_inputs, small_recipe())
    code = (
        "import sys; from ray_jobs.cli.application import main\n"
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


@pytest.fixture
def queried(small_run: FinishedRun, tmp_path: Path) -> FinishedRun:
    """The small run with a copy of its store: a query folds the catalog into the store."""
    return small_run._replace(store=copy_of(small_run.store, tmp_path / "queried"))


def test_query_json_is_one_array_of_objects(queried: FinishedRun) -> None:
    sql = "SELECT variant_id, sparsity, score FROM variants ORDER BY sparsity, variant_id"
    done = new_process("query", sql, "--store", queried.store.local_root, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("]\n")
    rows = json.loads(done.stdout)
    assert rows[0]["sparsity"] == 0.0
    assert rows[0]["score"] is None
    assert {row["sparsity"] for row in rows} == {0.0, 0.25, 0.5}


@pytest.mark.parametrize(
    ("text", "hint"), [("best_by_langage", "best_by_language"), ("SELECT nothing FROM nowhere", "nowhere")]
)
def test_a_bad_query_is_one_line_and_exit_code_2(text: str, hint: str, queried: FinishedRun) -> None:
    done = mlprune("query", text, "--store", queried.store.local_root)
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


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert f"mlprune {command} " in result.stdout.partition("Example")[2]
