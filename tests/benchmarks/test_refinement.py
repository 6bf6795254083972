"""The benchmark of refiners runs on a tiny model."""

from pathlib import Path

import pytest

from tests.benchmarks.small_runs import small_figures


@pytest.mark.slow
@pytest.mark.parametrize("refiner", ["gram_swaps", "least_squares"])
def test_the_small_benchmark_lowers_the_errors(refiner: str, tmp_path: Path) -> None:
    found = small_figures("refinement.py", tmp_path, "--refiner", refiner)["measurements"]
    assert found["mean_change"] < -0.1
    assert found["seconds"]["refine cpu"] > 0
    assert found["peak_bytes"] > 0
