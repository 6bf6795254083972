"""The benchmark of means over seeds runs with some hundred samples; its targets have room for their error."""

import pytest

from tests.benchmarks.mean_power import FAMILIES, level_populations, level_rows, power_populations, power_rows

pytestmark = pytest.mark.slow
REPEATS = 400
"""The standard error of a share of 0.8 is 0.02."""


def test_the_stated_power_is_that_of_the_test() -> None:
    for row in power_rows(REPEATS, power_populations()):
        shares = [float(str(row[f"power of {n_family}"])) for n_family in FAMILIES]
        assert all(0.72 <= share <= 0.88 for share in shares), row


def test_unpaired_seeds_keep_the_level() -> None:
    rows = list(level_rows(REPEATS, level_populations()))
    assert max(float(str(row["level"])) for row in rows) <= 0.08
    assert max(float(str(row["level of one side"])) for row in rows) > 0.08
