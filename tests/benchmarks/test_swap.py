"""The benchmark of swaps runs on a tiny model and prints both dtypes."""

from pathlib import Path

import pytest

from tests.benchmarks.small_runs import small_figures


@pytest.mark.slow
def test_the_small_benchmark_measures_swap_and_copy(tmp_path: Path) -> None:
    measurements = small_figures("swap.py", tmp_path, "--folder", str(tmp_path))["measurements"]
    assert set(measurements) == {"float32", "bfloat16"}
    for found in measurements.values():
        assert found["n_weights"] == 3 * (4 * 64**2 + 2 * 64 * 256)
        assert found["swap"]["cpu"] > 0
        assert found["copy"]["cpu"] > 0
