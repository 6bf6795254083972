import io
import os
import sys
from pathlib import Path

import pytest

from ray_jobs.cli import result_output
from ray_jobs.cli.result_output import echo, format_report, format_text, screen_width
from ray_jobs.driver.progress import VisibleConsole


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
    folder = Path(result_output.__file__).parent
    writing = {path.name for path in folder.rglob("*.py") if "typer.echo" in path.read_text("utf-8")}
    assert writing == {"result_output.py"}


def test_lines_of_a_run_are_escaped_too() -> None:
    stream = io.StringIO()
    VisibleConsole(file=stream, soft_wrap=True).print("failed: a\x1b[2J\x07\u202e", markup=False)
    assert stream.getvalue() == "failed: a\\x1b[2J\\x07\\u202e\n"
