"""The commands that say what the catalog holds: a page, and figures as files."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mlprune.errors import BadInputError
from ray_jobs.cli.application import app
from tests.tiny_recipes import FinishedRun, copy_of


@pytest.fixture(scope="module")
def store_path(small_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(small_run.store, tmp_path_factory.mktemp("report") / "store").uri


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_report_writes_a_page_and_says_where(store_path: str, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    found = invoke("report", "--store", store_path, "--out", str(out))
    assert (found.exit_code, found.stdout) == (0, f"{out}\n")
    assert out.read_text("utf-8").startswith("<!DOCTYPE html>")


def test_figures_writes_what_is_asked_for_and_says_where(store_path: str, tmp_path: Path) -> None:
    asked = ("--figure", "layers", "--format", "svg", "--score", "wanda", "--width", "5")
    found = invoke("figures", "--store", store_path, "--out", str(tmp_path), *asked)
    assert found.exit_code == 0
    assert found.stdout == f"{tmp_path / 'layers.svg'}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layers.csv", "layers.sql", "layers.svg"]


def test_a_figure_that_is_misspelt_is_bad_input(store_path: str, tmp_path: Path) -> None:
    found = invoke("figures", "--store", store_path, "--out", str(tmp_path), "--figure", "pareot")
    assert isinstance(found.exception, BadInputError)
    assert "nearest='pareto'" in str(found.exception)
