"""The benchmark of the model over languages runs with some hundred samples; its targets have room for their error."""

import pytest

from tests.benchmarks.pooled_coverage import COVERAGES, Population, coverage_row

pytestmark = pytest.mark.slow
REPEATS = 300
"""The Monte Carlo error of a share of 0.9 is 0.017."""


@pytest.mark.parametrize("deviation", [0.0, 1.0])
def test_intervals_cover_what_the_definitions_say(deviation: float) -> None:
    row = coverage_row(Population(12, deviation, 0.5), REPEATS)
    assert all(row[name] > 0.85 for name in COVERAGES)
    assert all(0 <= row[f"error, {name}"] <= 0.02 for name in COVERAGES)
    assert row["root mean square"] < 1
