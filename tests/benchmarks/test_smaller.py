"""The benchmark of smaller models runs on a tiny model, and both ways to choose units remove what they should."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).with_name("smaller.py")


@pytest.mark.slow
def test_the_small_benchmark_measures_both_models(tmp_path: Path) -> None:
    out = tmp_path / "smaller.json"
    command = [sys.executable, str(BENCHMARK), "--small", "--folder", str(tmp_path), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    measurements = json.loads(out.read_text("utf-8"))["measurements"]
    assert set(measurements) == {"one threshold", "equal widths"}
    for found in measurements.values():
        assert found["removed"] == pytest.approx(0.3, abs=0.03)
        assert found["difference"] < 1e-5
        assert found["bytes"]["smaller"] < found["bytes"]["dense"]
