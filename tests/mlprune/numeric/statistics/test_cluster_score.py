"""Score interval for few changed clusters, compared with Tango's interval, published values and properties."""

import math

import numpy as np
import pytest
from scipy import optimize

from mlprune.numeric.statistics.cluster_score import (
    boundary_interval,
    score_interval,
    sparse_interval,
    sparse_intervals,
    squared_score,
)


def tango_score(x: float, gained: int, lost: int, n: int) -> float:
    """Tango (1998), equations 6 and 7."""
    b = -gained - lost + (2 * n - gained + lost) * x
    q = (math.sqrt(max(0.0, b * b - 8 * n * (-lost * x * (1 - x)))) - b) / (4 * n)
    return (gained - lost - n * x) / math.sqrt(n * (2 * q + x * (1 - x)))


@pytest.mark.parametrize(("gained", "lost", "n"), [(7, 2, 150), (5, 1, 40), (0, 3, 30), (10, 10, 60), (1, 0, 10)])
def test_with_single_items_it_is_the_interval_of_tango(gained: int, lost: int, n: int) -> None:
    d = np.array([1.0] * gained + [-1.0] * lost + [0.0] * (n - gained - lost))
    interval = score_interval(d, np.ones(n), level=0.95, bound=1.0)
    estimate, z = (gained - lost) / n, 1.959963984540054
    expected_low = optimize.brentq(lambda x: tango_score(x, gained, lost, n) - z, -0.999999, estimate - 1e-9)
    expected_high = optimize.brentq(lambda x: tango_score(x, gained, lost, n) + z, estimate + 1e-9, 0.999999)
    assert (interval.low, interval.high) == pytest.approx((expected_low, expected_high), abs=1e-7)


def test_clusters_that_did_not_change_leave_room_for_a_change() -> None:
    sizes = np.array([1.0, 2.0, 3.0, 4.0] * 10)
    n = sizes.sum() ** 2 / (sizes**2).sum()
    z2 = 1.959963984540054**2
    interval = score_interval(np.zeros(40), sizes, level=0.95, bound=1.0)
    assert (-interval.low, interval.high) == pytest.approx((z2 / (n + z2),) * 2, rel=0.05)
    same = score_interval(np.zeros(40), np.full(40, 3.0), level=0.95, bound=1.0)
    assert (-same.low, same.high) == pytest.approx((z2 / (40 + z2),) * 2, abs=1e-8)


def test_it_scales_with_the_bound_and_mirrors_with_the_sign() -> None:
    d, m = np.array([1.0, 0.5, -1.0, 0.0, 0.0, 0.0, 2.0]), np.array([1.0, 1.0, 2.0, 3.0, 1.0, 1.0, 2.0])
    interval = score_interval(d, m, level=0.9, bound=1.0)
    scaled = score_interval(3 * d, m, level=0.9, bound=3.0)
    assert (scaled.low, scaled.high) == pytest.approx((3 * interval.low, 3 * interval.high), abs=1e-8)
    for end in (interval.low, interval.high):
        assert squared_score(d, m, difference=end, bound=1.0) == pytest.approx(1.6448536**2, abs=1e-5)
    mirrored = score_interval(-d, m, level=0.9, bound=1.0)
    assert (-mirrored.high, -mirrored.low) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_the_ends_of_clusters_that_did_not_change_are_opposite_whatever_the_sign_of_their_zeros() -> None:
    sizes = np.array([1.0, 2.0, 3.0, 4.0] * 10)
    interval = score_interval(np.zeros(40), sizes, level=0.95, bound=1.0)
    assert interval.low == -interval.high
    assert score_interval(-np.zeros(40), sizes, level=0.95, bound=1.0) == interval


def test_clusters_that_all_changed_fully_end_at_the_bound() -> None:
    interval = score_interval(np.full(8, 2.0), np.full(8, 2.0), level=0.95, bound=1.0)
    assert interval.high == 1.0
    assert 0.3 < interval.low < 0.6


def test_small_changes_of_large_clusters_narrow_the_interval() -> None:
    sizes = np.full(30, 4.0)
    small, whole = np.zeros(30), np.zeros(30)
    small[:4], whole[:1] = 1.0, 4.0
    narrow, wide = (score_interval(d, sizes, level=0.95, bound=1.0) for d in (small, whole))
    assert narrow.high < wide.high
    assert narrow.low > wide.low


def test_a_metric_at_the_end_of_its_range_has_an_interval() -> None:
    z2 = 1.959963984540054**2
    best = boundary_interval(100.0, np.full(40, 3.0), least=0.0, greatest=100.0)
    assert (best.low, best.high) == pytest.approx((100 - 100 * z2 / (40 + z2), 100.0))
    worst = boundary_interval(0.0, np.array([1.0, 3.0]), least=0.0, greatest=1.0)
    assert (worst.low, worst.high) == pytest.approx((0.0, z2 / (1.6 + z2)))


def test_levels_that_are_searched_together_have_the_bits_of_each_alone() -> None:
    draw = np.random.default_rng(0)
    for n_clusters in (1, 7, 150):
        sizes = draw.integers(1, 4, n_clusters).astype(float)
        contributions = np.where(draw.random(n_clusters) < 0.2, draw.integers(-1, 2, n_clusters) * sizes, 0.0)
        for levels in ((0.95, 0.90), (0.90, 0.95, 0.5)):
            together = sparse_intervals(contributions, sizes, levels=levels, bound=1.0)
            alone = tuple(sparse_interval(contributions, sizes, level=level, bound=1.0) for level in levels)
            assert together == alone
