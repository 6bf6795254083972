"""`mlprune report` and `mlprune figures`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from catalog.store import Catalog
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


@pytest.mark.parametrize("name", ["missing/output", "file/output", "file/below/output"])
@pytest.mark.parametrize(
    "command",
    [("report",), ("figures",), ("tables", "--like", "paper"), ("notebook", "--no-open")],
    ids=lambda command: command[0],
)
def test_an_output_without_its_folder_is_refused_before_the_catalog_is_read(
    command: tuple[str, ...], name: str, store_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(Catalog, "fold", lambda _: pytest.fail("the catalog is read"))
    result = invoke(*command, "--store", store_path, "--out", str(tmp_path / name))
    assert isinstance(result.exception, BadInputError)
    assert result.exception.context["path"] == str(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_output_of_another_kind_is_refused(store_path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for command, out in (("report", tmp_path), ("figures", tmp_path / "file")):
        assert isinstance(invoke(command, "--store", store_path, "--out", str(out)).exception, BadInputError)
