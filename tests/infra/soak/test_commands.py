"""Soaks of all commands and of one recipe find no difference. Minutes, so they are run by hand."""

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


def test_the_cases_are_commands() -> None:
    assert {name.removesuffix(" --scrub") for name in CASES} <= COMMANDS.keys()


def test_a_tally_counts_kills_of_all_kinds() -> None:
    tally = Tally(starts=5, stores=2, damages=1)
    tally.kills.update(("run", "run", "gc"))
    text = tally.summary()
    assert text.startswith("3 kills survived (1 gc, 2 run) in 5 starts and 2 stores, 1 damages")
    assert text.endswith("0 differences from an undisturbed run")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["commands", "here"])
def test_random_kills_change_no_result(tmp_path: Path, where: str) -> None:
    out = soak("--kills", "3", "--seed", "1", "--where", where, "--folder", str(tmp_path))
    assert "kills survived" in out
    assert "0 differences from an undisturbed run" in out
