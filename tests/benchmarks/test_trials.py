"""The benchmark of trials runs on a tiny model: composed trials write no masks, and swaps touch the switched layers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).with_name("trials.py")


@pytest.mark.slow
def test_the_small_benchmark_measures_trials_and_swaps(tmp_path: Path) -> None:
    out = tmp_path / "trials.json"
    command = [sys.executable, str(BENCHMARK), "--small", "--folder", str(tmp_path), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    found = json.loads(out.read_text("utf-8"))["measurements"]
    assert found["composed"]["bytes"] < found["ordered"]["bytes"] / 4
    assert found["swaps"]["layers"] == 2
    assert 0 < found["composed"]["cpu_s"] < found["ordered"]["cpu_s"]
