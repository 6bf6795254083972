"""Reading a store needs none of the libraries that run models: a child process in which they cannot be imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from infra.pages.frozen import archive_of, thaw
from tests.reading_alone import ROOT, hidden

COMPUTING = (
    ("plan", "recipe.yaml"),
    ("run", "recipe.yaml", "--store", "store"),
    ("check", "store", "--deep", "--store", "store"),
    ("check", "machine"),
    ("store", "merge", "store", "--store", "other"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the frozen store of a run."""
    path = tmp_path_factory.mktemp("reading")
    thaw(archive_of("where-gemma-float32"), path / "store")
    return path


def read(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.reading_alone", *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "HOME": str(folder), "MPLCONFIGDIR": str(folder)}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)


def test_a_store_is_queried_without_the_libraries_that_run_models(folder: Path) -> None:
    assert {"torch", "ray", "transformers", "numba"} <= hidden()
    done = read(folder, "query", "SELECT count(*) AS n FROM metrics", "--format", "csv", "--store", "store")
    assert done.returncode == 0, done.stderr
    name, count = done.stdout.split()
    assert (name, int(count) > 0) == ("n", True)


def test_a_report_is_written_without_the_libraries_that_run_models(folder: Path) -> None:
    done = read(folder, "report", "--store", "store", "--out", "report.html")
    assert done.returncode == 0, done.stderr
    assert "<svg" in (folder / "report.html").read_text("utf-8")


@pytest.mark.thorough("starts a process for each form")
@pytest.mark.parametrize(
    "arguments", [("export", "--as", form, "--out", form) for form in ("parquet", "csv", "arrow")], ids=lambda a: a[2]
)
def test_results_are_exported_without_the_libraries_that_run_models(folder: Path, arguments: tuple[str, ...]) -> None:
    done = read(folder, *arguments, "--store", "store")
    assert done.returncode == 0, done.stderr
    assert any((folder / arguments[-1]).iterdir())


def test_a_check_says_what_it_did_not_examine(folder: Path) -> None:
    done = read(folder, "check", "store", "--store", "store")
    assert "Traceback" not in done.stderr
    assert "which needs torch" in done.stderr


@pytest.mark.parametrize("arguments", COMPUTING, ids=lambda words: "-".join(words[:2]))
def test_a_command_that_computes_names_what_it_needs_in_one_line(folder: Path, arguments: tuple[str, ...]) -> None:
    done = read(folder, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "pip install mlprune" in done.stderr
    assert "needs=" in done.stderr
    assert not (folder / "other").exists()
