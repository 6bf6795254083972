"""The benchmark of published variants runs on a tiny model; its sizes and times are of the steps that it names."""

from pathlib import Path

import pytest

from tests.benchmarks.small_runs import small_figures


@pytest.mark.slow
def test_the_small_benchmark_measures_every_step(tmp_path: Path) -> None:
    measurements = small_figures("publishing.py", tmp_path, "--folder", str(tmp_path))["measurements"]
    assert set(measurements) == {"export", "publish", "apply", "the folder's own loader"}
    assert all(found["wall_s"] > 0 for found in measurements.values())
    assert measurements["publish"]["n_bytes"] < measurements["publish"]["n_base_bytes"]
