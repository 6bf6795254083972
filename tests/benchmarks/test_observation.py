"""The benchmark of passes with Gram matrices runs on a tiny model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).with_name("observation.py")


@pytest.mark.slow
def test_the_small_benchmark_measures_both_passes(tmp_path: Path) -> None:
    out = tmp_path / "observation.json"
    command = [sys.executable, str(BENCHMARK), "--small", "--repeat", "1", "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    found = json.loads(out.read_text("utf-8"))
    assert set(found["runs"]) == {"squares", "products"}
    assert found["ratio_cpu"] > 0
