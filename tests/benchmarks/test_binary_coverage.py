"""Coverage and level keep their limits at a small size; the benchmark measures more sizes and more draws."""

import numpy as np
import pytest

from tests.benchmarks.binary_coverage import CLUSTERS, Row, covers, covers_difference, draw, independent_rows


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    return {row.name: row for row in independent_rows(40, n_grid=9)}


def test_intervals_cover_95_percent_on_average_and_never_less_than_90(rows: dict[str, Row]) -> None:
    for name in ("Wilson, p from 0.001 to 0.999", "Tango with binomial end, 95%, all gains and losses"):
        assert rows[name].worst >= 90
        assert 93 <= rows[name].average <= 97


def test_close_to_the_ceiling_intervals_are_conservative(rows: dict[str, Row]) -> None:
    for name in ("Wilson, 0.01 to 5 wrong items expected", "Tango with binomial end, 95%, at most 6 changes"):
        assert rows[name].worst >= 90
        assert rows[name].average > 97


def test_tests_have_a_level_of_at_most_6_percent(rows: dict[str, Row]) -> None:
    measured = [row for name, row in rows.items() if "discordant" in name or "testable" in name or "chance" in name]
    assert len(measured) == 8
    assert all(0.5 < row.worst <= 6 for row in measured)


def test_planted_effects_are_found_with_the_stated_power(rows: dict[str, Row]) -> None:
    assert rows["planted effect found, stated power 80 %"].is_met


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_clustered_items_are_covered(correlation: float) -> None:
    clusters = CLUSTERS["50 premises"]
    draws = [draw(clusters, correlation, generator=np.random.default_rng(seed)) for seed in range(150)]
    assert np.mean([covers(uniform < 0.95, clusters, 0.95) for uniform in draws]) > 0.9
    assert np.mean([covers_difference(uniform, clusters, 0.05, 0.01) for uniform in draws]) > 0.9
