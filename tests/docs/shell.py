"""Run the commands of a page: `mlprune` in the process of the test, everything else with bash."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from infra.pages.transcripts import commands
from tests.command_line import Done

_ASSIGNED = re.compile(r"^(\w+)=\$\((mlprune .+) \| tail -n 1\)$", re.DOTALL)


class Shell:
    """Run the blocks of a page in order in one folder; variables are kept between blocks.

    Args:
        folder: working directory of the commands.
        mlprune: function that runs the command line in this process, in the current folder.
    """

    def __init__(self, folder: Path, mlprune: Callable[..., Done]) -> None:
        self._folder = folder
        self._mlprune = mlprune
        self._variables: dict[str, str] = {}

    def run(self, block: str) -> str:
        """Run a block and return its output; every command must succeed."""
        return "".join(self._run(command) for command in commands(block))

    def _run(self, command: str) -> str:
        if assigned := _ASSIGNED.match(command):
            self._variables[assigned[1]] = self._run(assigned[2]).splitlines()[-1]
            return ""
        if not command.startswith("mlprune "):
            return self._by_bash(command)
        words = shlex.split(re.sub(r"\$([A-Z]+)", lambda name: self._variables[name[1]], command), comments=True)
        file = words.pop() if words[-2:-1] == [">"] else None
        done = self._mlprune(*[word for word in words[1:] if word != ">"])
        assert done.code == 0, f"{command}: {done.err}"
        if file is None:
            return done.out
        (self._folder / file).write_text(done.out, encoding="utf-8")
        return ""

    def _by_bash(self, command: str) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-eu", "-c", command],
            check=False,
            cwd=self._folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout
