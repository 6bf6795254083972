"""The streaming benchmark runs on a tiny model. Its figures are not checked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

STREAMING = Path(__file__).with_name("streaming.py")

pytestmark = pytest.mark.slow


def test_the_small_streaming_benchmark_makes_every_row_and_cuts_the_set_into_parts(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    command = [sys.executable, str(STREAMING), "--small", "--out", str(out), "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert [row["name"] for row in figures["rows"]] == [
        "memory observe",
        "memory order",
        "write plain",
        "read plain",
        "write same",
        "read same",
    ]
    assert all(row["what"] in done.stdout for row in figures["rows"])
    measured = figures["measurements"]
    assert [measured[f"observe_{times}"]["n_jobs"] for times in (1, 4, 16)] == [1, 5, 17]
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"], "the temporary folder is gone"
