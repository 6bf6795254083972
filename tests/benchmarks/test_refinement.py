"""The benchmarks of refiners and of the reconstruction run on a tiny model."""

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


@pytest.mark.slow
def test_the_small_benchmark_of_the_reconstruction_lowers_the_loss(tmp_path: Path) -> None:
    found = small_figures("reconstruction.py", tmp_path, "--steps", "8")["measurements"]
    assert 0 < found["loss"] < 1
    assert found["ratio"] > 0
    assert found["n_tokens"] == 88 * 64
