"""Start-up: heavy libraries are loaded only by the commands that need them, whatever the speed of the machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "transformers", "ray", "numpy", "pyarrow", "duckdb", "matplotlib", "rich", "jinja2", "yaml", "marimo")
SCRIPT = """
import contextlib, io, json, os, sys
heavy = set(sys.argv[1].split(","))
loaded = {}
def note(step):
    loaded[step] = sorted(heavy & sys.modules.keys())
import mlprune
note("import mlprune")
from ray_jobs.cli import main
store = sys.argv[2]
for arguments in (["--help"], ["query", "--list"], ["status", "--store", store], ["complete", "mlprune query be"]):
    sys.argv = ["mlprune", *arguments]
    if arguments[0] == "complete":
        os.environ.update(_MLPRUNE_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS=arguments[1])
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.suppress(SystemExit):
        main()
    note(" ".join(arguments[:2]))
assert "best_by_language" in output.getvalue()
from ray_jobs.cli.application import COMMANDS, load_command
for command in COMMANDS:
    load_command(command)
note("every command")
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Step -> heavy libraries that are loaded after it, in one process."""
    command = [sys.executable, "-c", SCRIPT, ",".join(HEAVY), str(tmp_path_factory.mktemp("store"))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=900)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("step", ["import mlprune", "--help", "query --list"])
def test_help_and_lists_load_no_heavy_library(loaded: dict[str, list[str]], step: str) -> None:
    assert loaded[step] == []


def test_the_status_of_runs_in_a_folder_loads_no_heavy_library(loaded: dict[str, list[str]]) -> None:
    assert loaded["status --store"] == []


def test_a_completion_loads_no_heavy_library(loaded: dict[str, list[str]]) -> None:
    assert set(loaded["complete mlprune query be"]) <= {"rich"}, "typer formats the summaries with it"


def test_the_help_and_the_options_of_every_command_load_no_models_and_no_ray(loaded: dict[str, list[str]]) -> None:
    assert not {"torch", "transformers", "ray"} & set(loaded["every command"])
