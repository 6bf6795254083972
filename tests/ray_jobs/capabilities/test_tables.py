"""`mlprune report --tables`: where tables come from and go to, and what is refused."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mlprune.errors import BadInputError, QueryError
from mlprune.store.store import Store
from ray_jobs.cli.application import app


@pytest.fixture(scope="module")
def store_path(queried_store: Store) -> str:
    return queried_store.uri


OWN = """
tables:
  - {name: facts, task: facts, metric: accuracy, choose_on: null, rows: [{label: dense, dense: true}]}
"""


def invoke_tables(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", "--tables", *arguments])


def test_own_tables_are_printed_or_written(store_path: str, tmp_path: Path) -> None:
    spec = tmp_path / "own.yaml"
    spec.write_text(OWN)
    printed = invoke_tables("--store", store_path, "--spec", str(spec))
    assert printed.exit_code == 0
    assert "| model | method | sparsity |" in printed.stdout
    written = invoke_tables(
        "--store", store_path, "--spec", str(spec), "--out", str(tmp_path / "out"), "--format", "csv"
    )
    paths = [Path(line) for line in written.stdout.splitlines()]
    assert [path.name for path in paths] == ["facts.csv", "facts-intervals.csv"]
    assert all(path.is_file() for path in paths)


def test_a_store_without_values_for_any_table_is_bad_input(store_path: str) -> None:
    result = invoke_tables("--store", store_path, "--like", "paper")
    assert isinstance(result.exception, QueryError)
    assert "accuracy of xnli (test)" in str(result.exception)


def test_tables_are_specified_in_one_way(store_path: str, tmp_path: Path) -> None:
    for options in ((), ("--like", "paper", "--spec", str(tmp_path / "x.yaml"))):
        result = invoke_tables("--store", store_path, *options)
        assert isinstance(result.exception, BadInputError)
        assert "--like paper" in str(result.exception)
    result = invoke_tables("--store", store_path, "--like", "paper", "--format", "word")
    assert isinstance(result.exception, BadInputError)
