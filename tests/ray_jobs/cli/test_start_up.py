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
import contextlib, io, json, sys
heavy = set(sys.argv[1].split(","))
loaded = {}
def note(step):
    loaded[step] = sorted(heavy & sys.modules.keys())
import mlprune
note("import mlprune")
from ray_jobs.cli import main
for arguments in (["--help"], ["query", "--list"], ["status", "--store", sys.argv[2]]):
    sys.argv = ["mlprune", *arguments]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main()
    note(" ".join(arguments[:2]))
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
