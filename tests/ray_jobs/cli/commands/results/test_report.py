"""`mlprune report` and `mlprune figures`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mlprune.errors import BadInputError
from mlprune.store.store import Store
from ray_jobs.cli.application import app


@pytest.fixture(scope="module")
def store_path(queried_store: Store) -> str:
    return queried_store.uri


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_report_writes_a_page_and_prints_its_path(store_path: str, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    result = invoke("report", "--store", store_path, "--out", str(out))
    assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    assert out.read_text("utf-8").startswith("<!DOCTYPE html>")


def test_figures_writes_the_selected_figures_and_prints_their_paths(store_path: str, tmp_path: Path) -> None:
    options = ("--figure", "change", "--format", "svg", "--score", "wanda", "--width", "5")
    result = invoke("figures", "--store", store_path, "--out", str(tmp_path), *options)
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path / 'change.svg'}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["change.csv", "change.sql", "change.svg"]


def test_a_misspelt_figure_is_bad_input(store_path: str, tmp_path: Path) -> None:
    result = invoke("figures", "--store", store_path, "--out", str(tmp_path), "--figure", "pareot")
    assert isinstance(result.exception, BadInputError)
    assert "nearest='pareto'" in str(result.exception)
