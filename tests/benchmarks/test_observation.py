"""The benchmark of passes with Gram matrices runs on a tiny model."""

from pathlib import Path

import pytest

from tests.benchmarks.small_runs import small_figures


@pytest.mark.slow
def test_the_small_benchmark_measures_both_passes(tmp_path: Path) -> None:
    found = small_figures("observation.py", tmp_path, "--repeat", "1")
    assert set(found["runs"]) == {"squares", "products"}
    assert found["ratio_cpu"] > 0
