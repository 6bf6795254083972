"""Answers on hand-written pages: a `text` block is the output of the `sh` or `python` block directly before it."""

import io
import os
import re
import shlex
from contextlib import chdir, redirect_stdout
from pathlib import Path

from typer.testing import CliRunner

from ray_jobs.cli.application import app

WIDTH = 100
"""Characters of a line in an answer."""
_TRANSCRIPT = re.compile(r"(```sh\n(?P<block>(?:(?!```).)*)```\n\n```text\n)(?:(?!```).)*(```)", re.DOTALL)
_PYTHON = re.compile(
    r"(```python\n(?P<block>(?:(?!```).)*)```\n)(?:\n```text\n(?P<answer>(?:(?!```).)*)```)?", re.DOTALL
)


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
    """Replace the answers on a page by the output of its commands, and of its Python, in a folder.

    The Python of a page is one program; it runs up to the last block with an answer.

    Raises:
        ValueError: a command before an answer is not an mlprune command, or fails.
    """
    with chdir(folder):
        answered = _TRANSCRIPT.sub(lambda match: f"{match[1]}{_printed(match['block'])}{match[3]}", page)
        end = max((match.end() for match in _PYTHON.finditer(answered) if match["answer"] is not None), default=0)
        namespace: dict[str, object] = {}
        return _PYTHON.sub(lambda match: _answered(match, namespace), answered[:end]) + answered[end:]


def _answered(match: re.Match[str], namespace: dict[str, object]) -> str:
    """Run a block of Python, and return it with its answer if it has one."""
    printed = python_output(match["block"], namespace)
    return match[0] if match["answer"] is None else f"{match[1]}\n```text\n{printed}```"


def python_output(block: str, namespace: dict[str, object]) -> str:
    """Run a block of Python that continues earlier ones, and return what it prints."""
    printed, width = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)
    try:
        with redirect_stdout(printed):
            exec(compile(block, "<page>", "exec"), namespace)  # noqa: S102 - our own pages
    finally:
        if width is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = width
    return printed.getvalue()


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
