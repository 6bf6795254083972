"""Completion in a shell: queries, stores and variants, as bash asks for them."""

import io
import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlprune.errors import StoreError
from mlprune.store.store import Store
from ray_jobs.cli import options
from ray_jobs.cli.application import app
from ray_jobs.cli.options import (
    complete_store,
    echo,
    existing_store,
    format_report,
    format_text,
    screen_width,
    show_start,
)
from ray_jobs.driver.progress import VisibleConsole
from tests.records import made_up_record
from tests.tiny_recipes import FinishedRun


def completed(line: str) -> list[str]:
    """What bash is offered for the last word of a line."""
    words = line.split(" ")
    environment = {"_MLPRUNE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    result = CliRunner().invoke(app, [], env=environment, prog_name="mlprune")
    return result.stdout.split()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a store of two variants, an empty store and another folder."""
    names = [{"kind": "variant", "name": name, "id": "x"} for name in ("wanda-50", "wanda-60", "dense")]
    names.append({"kind": "search", "name": "wanda-search", "id": "y"})
    Store(tmp_path / "runs").write_record(made_up_record("recipes", rows={"names": names}))
    (tmp_path / "runs-empty" / "records").mkdir(parents=True)
    (tmp_path / "deep" / "store" / "records").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_and_options_are_completed() -> None:
    assert "query" in completed("mlprune qu")
    assert "--keep-best" in completed("mlprune gc --keep")


def test_built_in_queries_are_completed() -> None:
    offered = completed("mlprune query best_")
    assert "best_by_language" in offered
    assert all(name.startswith("best_") for name in offered)


@pytest.mark.parametrize(
    ("incomplete", "expected"),
    [
        ("", ["runs/", "runs-empty/"]),
        ("runs-", ["runs-empty/"]),
        ("dee", ["deep/"]),
        ("deep/", ["deep/store/"]),
        ("./ru", ["./runs/", "./runs-empty/"]),
        ("no-such/x", []),
    ],
)
@pytest.mark.usefixtures("folder")
def test_stores_are_completed_before_other_folders(incomplete: str, expected: list[str]) -> None:
    assert sorted(complete_store(incomplete)) == sorted(expected)


def test_absolute_paths_stay_absolute(folder: Path) -> None:
    assert complete_store(f"{folder}{os.sep}runs-") == [f"{folder}/runs-empty/"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mlprune export --store runs wan", ["wanda-50", "wanda-60"]),
        ("mlprune export wan", ["wanda-50", "wanda-60"]),
        ("mlprune harness --store runs den", ["dense"]),
        ("mlprune publish --store runs wan", ["wanda-50", "wanda-60"]),
        ("mlprune export --store runs-empty wan", []),
        ("mlprune export --store s3://bucket/x wan", []),
        ("mlprune gc --store runs-", ["runs-empty/"]),
    ],
)
def test_variants_of_a_local_store_are_completed(line: str, expected: list[str]) -> None:
    assert completed(line) == expected


def test_a_store_with_records_is_opened(small_run: FinishedRun) -> None:
    assert existing_store(small_run.store.uri).record_names() == small_run.store.record_names()


def test_a_store_without_records_is_bad_input_and_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        existing_store(str(tmp_path / "nothing"))
    assert caught.value.context["store"] == str(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_start_of_a_command_is_shown_on_a_terminal_only(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    show_start("planning r.yaml")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "planning r.yaml ...\n" if is_terminal else "")


def test_the_width_is_that_of_the_terminal_and_elsewhere_80_or_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert screen_width() == 80
    monkeypatch.setenv("COLUMNS", "60")
    assert screen_width() == 60
    monkeypatch.setenv("COLUMNS", "none")
    assert screen_width() == 80
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("os.get_terminal_size", lambda *_: os.terminal_size((123, 40)))
    assert screen_width() == 123


def test_the_reason_for_no_rows_fits_and_cannot_control_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    text = format_text("No rows for task=\x1b[2J; the store has facts (dev, test)")
    assert max(map(len, text.splitlines())) <= 30
    assert r"\x1b[2J" in text


def test_a_report_is_folded_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "memory: about 2 GiB per actor, 1 GiB of it for computing\x1b"
    monkeypatch.setenv("COLUMNS", "30")
    assert format_report(line) == line.replace("\x1b", r"\x1b")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert format_report(line).splitlines()[1].startswith("        ")


def test_no_command_writes_characters_that_a_terminal_interprets(capsys: pytest.CaptureFixture[str]) -> None:
    echo("store\x07 \x1b[2J\u202e\tname\nnext")
    echo("\x1b[2J", err=True)
    written = capsys.readouterr()
    assert (written.out, written.err) == ("store\\x07 \\x1b[2J\\u202e\tname\nnext\n", "\\x1b[2J\n")


def test_every_command_writes_through_one_function() -> None:
    folder = Path(options.__file__).parent
    writing = {path.name for path in folder.rglob("*.py") if "typer.echo" in path.read_text("utf-8")}
    assert writing == {"options.py"}


def test_lines_of_a_run_are_escaped_too() -> None:
    stream = io.StringIO()
    VisibleConsole(file=stream, soft_wrap=True).print("failed: a\x1b[2J\x07\u202e", markup=False)
    assert stream.getvalue() == "failed: a\\x1b[2J\\x07\\u202e\n"
