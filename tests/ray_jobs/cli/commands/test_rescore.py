"""`mlprune rescore` and `mlprune ranks`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mlprune.errors import BadInputError
from ray_jobs.cli.application import app
from tests.tiny_recipes import FinishedRun, copy_of


@pytest.fixture(scope="module")
def store_path(small_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(small_run.store, tmp_path_factory.mktemp("rescoring") / "store").uri


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_rescore_prints_the_evaluations_and_the_catalog_has_them(store_path: str) -> None:
    result = invoke("rescore", "--store", store_path, "--rule", "candidate_mean", "--language", "fr")
    assert result.exit_code == 0
    ids = result.stdout.split()
    assert len(ids) == 4
    assert "4 evaluations, 4 of them new; 3 new comparisons" in result.stderr
    sql = "SELECT evaluation_id, scoring_rule FROM evaluations WHERE scoring_rule <> 'mean' ORDER BY ALL"
    rows = json.loads(invoke("query", sql, "--store", store_path, "--format", "json").stdout)
    assert [row["evaluation_id"] for row in rows] == ids


def test_ranks_are_one_row_per_variant(store_path: str) -> None:
    result = invoke("ranks", "--store", store_path, "--task", "facts", "--format", "json")
    rows = json.loads(result.stdout)
    assert len(rows) == 4
    assert sum(row["average_rank"] for row in rows) == pytest.approx(10)
    assert {row["n_data_sets"] for row in rows} == {2}
    assert "view aggregates" in result.stderr


def test_example_ids_are_read_from_a_file(store_path: str, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("1\n\n 2 \n")
    result = invoke("rescore", "--store", store_path, "--examples", str(ids), "--metric", "accuracy")
    sql = f"SELECT n_examples FROM evaluations WHERE evaluation_id = '{result.stdout.split()[0]}'"
    assert json.loads(invoke("query", sql, "--store", store_path, "--format", "json").stdout) == [{"n_examples": 2}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rule", "max"], "scoring rule"),
        (["--from-rule", "max"], "scoring rule"),
        ([], "nothing to compute"),
        (["--examples", "absent.txt"], "absent.txt"),
        (["--generated", "--rule", "mean"], "does not apply to generated texts"),
        (["--generated", "--metric", "line_pass_rate"], "no generated texts are stored"),
    ],
)
def test_wrong_options_are_bad_input(store_path: str, arguments: list[str], message: str) -> None:
    result = invoke("rescore", "--store", store_path, *arguments)
    assert isinstance(result.exception, BadInputError)
    assert message in str(result.exception)


def test_an_empty_file_of_example_ids_is_bad_input(store_path: str, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("\n")
    result = invoke("rescore", "--store", store_path, "--examples", str(tmp_path / "ids.txt"))
    assert "one id per line" in str(result.exception)
