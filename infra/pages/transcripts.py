"""Answers on hand-written pages: a `text` block is the output of the `sh` block directly before it."""

import re
import shlex
from contextlib import chdir
from pathlib import Path

from typer.testing import CliRunner

from ray_jobs.cli.application import app

WIDTH = 100
"""Characters of a line in an answer."""
_TRANSCRIPT = re.compile(r"(```sh\n(?P<block>(?:(?!```).)*)```\n\n```text\n)(?:(?!```).)*(```)", re.DOTALL)


def commands(block: str) -> list[str]:
    """Split a shell block into commands; quotes, backslashes and here-documents join lines."""
    complete: list[str] = []
    current = ""
    for line in block.splitlines():
        current = f"{current}\n{line}" if current else line
        if _is_complete(current):
            complete += [current] if current.strip() else []
            current = ""
    if current:
        raise ValueError(f"a command is incomplete: {current}")
    return complete


def refreshed(page: str, folder: Path) -> str:
    """Replace the answers on a page by the output of its commands in a folder.

    Raises:
        ValueError: a command before an answer is not an mlprune command, or fails.
    """
    with chdir(folder):
        return _TRANSCRIPT.sub(lambda match: f"{match[1]}{_printed(match['block'])}{match[3]}", page)


def _printed(block: str) -> str:
    return "".join(_answer(command) for command in commands(block))


def _answer(command: str) -> str:
    program, *arguments = shlex.split(command, comments=True)
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": str(WIDTH)})
    if program != "mlprune" or done.exit_code != 0:
        raise ValueError(f"the command failed: {command} ({done.exception or done.output})")
    return done.stdout


def _is_complete(command: str) -> bool:
    if "<<'EOF'" in command:
        return command.endswith("\nEOF")
    try:
        shlex.split(command, comments=True)
    except ValueError:  # a quote is open
        return False
    return not command.endswith("\\")
