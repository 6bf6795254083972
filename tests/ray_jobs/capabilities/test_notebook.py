"""`mlprune report --notebook`: the file that it writes, and the program that it starts."""

import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlprune.errors import BadInputError, StoreError
from mlprune.store.store import Store
from ray_jobs.capabilities import notebook
from ray_jobs.cli.application import app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store that has a file below records."""
    Store(tmp_path / "runs").write_bytes("records/variants/0.json", b"{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "name"),
    [([], "mlprune-notebook.py"), (["--jupyter"], "mlprune-notebook.ipynb"), (["--out", "mine.py"], "mine.py")],
)
def test_a_notebook_is_written_with_the_whole_path_of_the_store(folder: Path, options: list[str], name: str) -> None:
    done = CliRunner().invoke(app, ["report", "--notebook", "--store", "runs", "--no-open", *options])
    assert done.exit_code == 0
    assert done.stdout == f"{name}\n"
    assert str(folder / "runs") in (folder / name).read_text()
    again = CliRunner().invoke(app, ["report", "--notebook", "--store", "runs", "--no-open", *options])
    assert isinstance(again.exception, BadInputError)


@pytest.mark.parametrize("jupyter", [False, True])
def test_the_program_gets_the_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch, *, jupyter: bool) -> None:
    calls = []
    monkeypatch.setattr(os, "execv", lambda *words: calls.append(words))
    monkeypatch.setattr(notebook, "find_spec", lambda _: True)
    notebook.notebook(store="runs", jupyter=jupyter)
    words = ["jupyter", "lab"] if jupyter else ["marimo", "edit", "--skip-update-check"]
    suffix = "ipynb" if jupyter else "py"
    assert calls == [(sys.executable, [sys.executable, "-m", *words, f"mlprune-notebook.{suffix}"])]


@pytest.mark.parametrize("jupyter", [False, True])
def test_a_missing_program_and_a_missing_store_write_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, jupyter: bool
) -> None:
    monkeypatch.setattr(notebook, "find_spec", lambda _: None)
    with pytest.raises(BadInputError, match="--no-open"):
        notebook.notebook(store="runs", jupyter=jupyter)
    with pytest.raises(StoreError, match="does not exist"):
        notebook.notebook(store="nowhere", jupyter=jupyter, no_open=True)
    assert not list(folder.glob("mlprune-notebook*"))
