"""The benchmark of trials runs on a tiny model: composed trials write no masks, and swaps touch the switched layers."""

from pathlib import Path

import pytest

from tests.benchmarks.small_runs import small_figures


@pytest.mark.slow
def test_the_small_benchmark_measures_trials_and_swaps(tmp_path: Path) -> None:
    found = small_figures("trials.py", tmp_path, "--folder", str(tmp_path))["measurements"]
    assert found["composed"]["bytes"] < found["ordered"]["bytes"] / 4
    assert found["swaps"]["layers"] == 2
    assert 0 < found["composed"]["cpu_s"] < found["ordered"]["cpu_s"]
