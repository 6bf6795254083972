"""The benchmark of coverage runs with few samples. Its figures are only roughly checked."""

import pytest

from tests.benchmarks.resampling_coverage import PARTS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("part", sorted(PARTS))
def test_every_population_has_a_share_of_its_samples(part: str) -> None:
    rows = list(PARTS[part](8))
    assert rows
    for row in rows:
        shares = [row[key] for key in ("coverage", "level") if key in row]
        assert shares
        assert all(0 <= share <= 1 for share in shares)
    assert all(row["coverage"] > 0.5 for row in rows if row["what"] in {"sign flips", "calibration error, inverted"})
