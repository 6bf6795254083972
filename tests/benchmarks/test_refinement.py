"""The benchmark of refiners runs on a tiny model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).with_name("refinement.py")


@pytest.mark.slow
@pytest.mark.parametrize("refiner", ["gram_swaps", "least_squares"])
def test_the_small_benchmark_lowers_the_errors(refiner: str, tmp_path: Path) -> None:
    out = tmp_path / "refinement.json"
    command = [sys.executable, str(BENCHMARK), "--small", "--refiner", refiner, "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    found = json.loads(out.read_text("utf-8"))["measurements"]
    assert found["mean_change"] < -0.1
    assert found["seconds"]["refine cpu"] > 0
    assert found["peak_bytes"] > 0
