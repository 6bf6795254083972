"""The benchmark of the Python interface runs on a tiny model."""

from pathlib import Path

import pytest

from tests.benchmarks.small_runs import small_figures


@pytest.mark.slow
def test_the_small_benchmark_measures_the_frame_and_the_model(tmp_path: Path) -> None:
    measurements = small_figures("python_interface.py", tmp_path, "--folder", str(tmp_path))["measurements"]
    assert measurements["frame"]["rows"] == 94_000
    load = measurements["load"]
    assert load["zeros"] * 4 == pytest.approx(load["model_bytes"], rel=0.6)
    assert load["seconds"] > 0
