"""The benchmark of smaller models runs on a tiny model, and both ways to choose units remove what they should."""

from pathlib import Path

import pytest

from tests.benchmarks.small_runs import small_figures


@pytest.mark.slow
def test_the_small_benchmark_measures_both_models(tmp_path: Path) -> None:
    measurements = small_figures("smaller.py", tmp_path, "--folder", str(tmp_path))["measurements"]
    assert set(measurements) == {"one threshold", "equal widths"}
    for found in measurements.values():
        assert found["removed"] == pytest.approx(0.3, abs=0.03)
        assert found["difference"] < 1e-5
        assert found["bytes"]["smaller"] < found["bytes"]["dense"]
