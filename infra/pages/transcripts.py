"""Answers on pages written by hand: a `text` block holds what the `sh` block right before it prints."""

import re
import shlex
from contextlib import chdir
from pathlib import Path

from typer.testing import CliRunner

from ray_jobs.cli.application import app

_TRANSCRIPT = re.compile(r"(```sh\n(?P<block>(?:(?!```).)*)```\n\n```text\n)(?:(?!```).)*(```)", re.DOTALL)


def commands(block: str) -> list[str]:
    """The commands of a shell block: lines that hang together by quotes, backslashes or a here-document are one."""
    found: list[str] = []
    current = ""
    for line in block.splitlines():
        current = f"{current}\n{line}" if current else line
        if _is_complete(current):
            found += [current] if current.strip() else []
            current = ""
    if current:
        raise ValueError(f"a command has no end: {current}")
    return found


def refreshed(page: str, folder: Path) -> str:
    """A page whose answers are those that its commands give in a folder.

    Raises:
        ValueError: a command before an answer is none of mlprune, or fails.
    """
    with chdir(folder):
        return _TRANSCRIPT.sub(lambda found: f"{found[1]}{_printed(found['block'])}{found[3]}", page)


def _printed(block: str) -> str:
    return "".join(_answer(command) for command in commands(block))


def _answer(command: str) -> str:
    program, *arguments = shlex.split(command, comments=True)
    done = CliRunner().invoke(app, arguments)
    if program != "mlprune" or done.exit_code != 0:
        raise ValueError(f"the command gives no answer: {command} ({done.exception or done.output})")
    return done.stdout


def _is_complete(command: str) -> bool:
    if "<<'EOF'" in command:
        return command.endswith("\nEOF")
    try:
        shlex.split(command, comments=True)
    except ValueError:  # a quote is open
        return False
    return not command.endswith("\\")
