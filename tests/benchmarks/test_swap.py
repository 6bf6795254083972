"""The benchmark of swaps runs on a tiny model and prints both dtypes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).with_name("swap.py")


@pytest.mark.slow
def test_the_small_benchmark_measures_swap_and_copy(tmp_path: Path) -> None:
    out = tmp_path / "swap.json"
    command = [sys.executable, str(BENCHMARK), "--small", "--folder", str(tmp_path), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    measurements = json.loads(out.read_text("utf-8"))["measurements"]
    assert set(measurements) == {"float32", "bfloat16"}
    for found in measurements.values():
        assert found["n_weights"] == 3 * (4 * 64**2 + 2 * 64 * 256)
        assert found["swap"]["cpu"] > 0
        assert found["copy"]["cpu"] > 0
