"""The benchmark of the worst language runs with few samples. Its figures are only roughly checked."""

import pytest

from tests.benchmarks.worst_language import POPULATIONS, rows

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", POPULATIONS)
def test_every_population_has_a_share_of_its_samples(name: str) -> None:
    (row,) = rows(4, [name])
    assert all(0 <= float(str(row[key])) <= 1 for key in ("minima_test", "resampled", "bonferroni", "halves"))
    assert float(str(row["coverage"])) >= 0.5
