"""Soaks of all commands and of one recipe find no difference. Minutes, so they are run by hand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.soak.cases import CASES
from infra.soak.tally import Tally
from ray_jobs.cli.application import COMMANDS

ROOT = Path(__file__).parents[3]


def soak(*arguments: str) -> str:
    command = [sys.executable, "-m", "infra.soak", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


WITHOUT_RESULT = {"serve", "methods", "data check", "demo", "mixed-model", "catalog mlflow"}
"""Commands that write nothing into a store, are runs of the others, or write elsewhere."""


def command_of(name: str) -> str:
    words = re.split(r" --| \(", name)[0]
    assert words in COMMANDS, name
    return words


def test_every_command_has_a_case() -> None:
    assert {command_of(name) for name in CASES} == COMMANDS.keys() - WITHOUT_RESULT


def test_a_tally_counts_kills_of_all_kinds() -> None:
    tally = Tally(starts=5, damages=1)
    tally.kills.update(("run", "run", "gc"))
    tally.finished.update(("run", "gc"))
    text = tally.summary()
    assert text.startswith("3 kills survived (1 gc, 2 run) in 5 starts and 2 stores, 1 damages")
    assert text.endswith("0 differences from an undisturbed run")


def test_the_counts_of_several_calls_add_up(tmp_path: Path) -> None:
    tally = Tally.read(tmp_path)
    tally.kills.update(("run", "gc --keep-days"))
    tally.finished.update(("run", "gc --keep-days"))
    tally.differences.append("run [killed]: lost: x")
    tally.undisturbed["run"] = 2.5
    tally.write(tmp_path)
    again = Tally.read(tmp_path)
    assert (again.n_kills, again.stores, again.calls, again.undisturbed) == (2, 2, 2, {"run": 2.5})
    again.kills["run"] += 1
    rows = {line[:24].strip(): line[24:].split() for line in again.table()}
    assert rows["run"] == ["2", "1", "1"]
    assert rows["gc --keep-days"] == ["1", "1", "0"]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["commands", "here"])
def test_random_kills_change_no_result(tmp_path: Path, where: str) -> None:
    out = soak("--kills", "3", "--seed", "1", "--where", where, "--folder", str(tmp_path))
    assert "kills survived" in out
    assert "0 differences from an undisturbed run" in out
    again = soak("--kills", "4", "--seed", "1", "--where", where, "--folder", str(tmp_path))
    assert "call 2" in again
    assert "undisturbed run" in again
