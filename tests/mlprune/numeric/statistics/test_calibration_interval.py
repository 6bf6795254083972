"""Interval of the calibration error, compared with a search over a grid and by properties."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.statistics.calibration_interval import (
    CorrectedEstimate,
    calibration_difference,
    calibration_interval,
    cells_with_sum,
)
from mlprune.numeric.statistics.clusters import Interval
from tests.refusals import refused

GENERATOR = np.random.default_rng(7)


def noisy(cells: np.ndarray, *, scale: float = 0.02) -> np.ndarray:
    return cells + scale * GENERATOR.normal(size=(400, cells.size))


@pytest.mark.parametrize("total", [0.0, 0.01, 0.1, 0.29, 0.3, 0.5])
def test_cells_get_the_asked_sum_and_keep_their_signs_and_order(total: float) -> None:
    cells = np.array([0.1, -0.15, 0.0, 0.05])
    changed = cells_with_sum(cells, total)
    assert np.abs(changed).sum() == pytest.approx(total)
    assert (changed * cells >= 0).all()
    assert (np.diff(np.abs(changed)[[2, 3, 0, 1]]) >= 0).all()
    reductions = np.abs(cells) - np.abs(changed)
    if 0 < total < 0.3:
        assert reductions[np.abs(changed) > 0] == pytest.approx(reductions[1])


def test_cells_of_zero_stay_zero() -> None:
    assert cells_with_sum(np.zeros(3), 0.5).tolist() == [0.0, 0.0, 0.0]


def test_estimate_and_ends_are_where_the_share_of_resamples_crosses() -> None:
    cells = np.array([0.1, -0.05, 0.02, 0.0])
    resampled = noisy(cells)
    result = calibration_interval(resampled, cells, level=0.9)

    def share(total: float) -> float:
        sums = [
            sum(abs(m + r - c) for m, r, c in zip(cells_with_sum(cells, total), row, cells, strict=True))
            for row in resampled
        ]
        return sum(s >= 0.17 - 1e-15 for s in sums) / len(sums)

    for value, expected in [(result.interval.low, 0.05), (result.value, 0.5)]:
        assert share(value - 1e-6) < expected <= share(value + 1e-6)
    sums = np.abs(resampled).sum(axis=1)
    unbiased = np.quantile(sums, 0.95) - (sums.mean() - 0.17)
    assert result.interval.high == pytest.approx(max(unbiased, crossing(share, 0.95)), abs=1e-6)


def crossing(share: Callable[[float], float], expected: float) -> float:
    return next(total for total in np.arange(0.17, 0.4, 1e-3) if share(total) >= expected)


def test_the_upward_bias_is_removed() -> None:
    values, plain, covered = [], [], 0
    true = np.array([0.06, -0.03, 0.01, 0.0, 0.0, 0.0])
    for _ in range(150):
        cells = true + 0.02 * GENERATOR.normal(size=6)
        result = calibration_interval(noisy(cells)[:200], cells)
        values.append(result.value)
        plain.append(np.abs(cells).sum())
        covered += result.interval.contains(0.1)
    assert np.mean(plain) - 0.1 > 0.02
    assert abs(np.mean(values) - 0.1) < 0.012
    assert covered / 150 > 0.88


def test_calibrated_cells_may_have_no_error_at_all() -> None:
    cells = 0.02 * GENERATOR.normal(size=6)
    result = calibration_interval(noisy(np.zeros(6)) + cells, cells)
    assert result.interval.low == 0.0
    assert 0.0 <= result.value < np.abs(cells).sum() < result.interval.high


def test_arguments_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ShapeError):
        calibration_interval(np.zeros((3, 4)), np.zeros(5))
    with pytest.raises(PermanentError, match="not finite"):
        calibration_interval(np.full((3, 2), math.nan), np.zeros(2))
    with refused(BadInputError, expected="0 < level < 1", got=2):
        calibration_interval(np.zeros((3, 2)), np.zeros(2), level=2)


def test_a_difference_combines_the_ends_by_their_correlation() -> None:
    first = CorrectedEstimate(0.20, Interval(0.17, 0.26))
    second = CorrectedEstimate(0.05, Interval(0.01, 0.09))
    apart = calibration_difference(first, second, correlation=0.0)
    assert apart.value == pytest.approx(0.15)
    assert apart.interval.low == pytest.approx(0.15 - math.hypot(0.03, 0.04))
    assert apart.interval.high == pytest.approx(0.15 + math.hypot(0.06, 0.04))
    together = calibration_difference(first, second, correlation=1.0)
    assert together.interval.low == pytest.approx(0.15 - 0.01)
    mirrored = calibration_difference(second, first, correlation=0.5)
    straight = calibration_difference(first, second, correlation=0.5)
    assert (-mirrored.interval.high, -mirrored.interval.low) == pytest.approx(
        (straight.interval.low, straight.interval.high)
    )
    calibrated = CorrectedEstimate(0.03, Interval(0.0, 0.07))
    assert calibration_difference(first, calibrated, correlation=0.5).interval.high == pytest.approx(0.26)
    assert calibration_difference(calibrated, first, correlation=0.5).interval.low == pytest.approx(-0.26)
    with refused(BadInputError, expected="-1 to 1", got=2.0):
        calibration_difference(first, second, correlation=2.0)
