"""Intervals have ordered ends and know what they contain; p-values are never 0."""

import math

import numpy as np
import pytest

from mlprune.errors import BadInputError, PermanentError
from mlprune.numeric.statistics.interval import Interval, check_level, positive_p_values


def test_an_interval_contains_both_of_its_ends() -> None:
    interval = Interval(-0.25, 0.5)
    assert interval.width == 0.75
    assert [interval.contains(value) for value in (-0.26, -0.25, 0.0, 0.5, 0.51)] == [False, True, True, True, False]


@pytest.mark.parametrize("ends", [(0.5, 0.25), (math.nan, 1.0), (0.0, math.nan)])
def test_ends_in_the_wrong_order_and_missing_ends_are_errors(ends: tuple[float, float]) -> None:
    with pytest.raises(PermanentError):
        Interval(*ends)


@pytest.mark.parametrize("level", [0.0, 1.0, math.nan])
def test_a_level_is_a_probability_between_0_and_1(level: float) -> None:
    check_level(0.95)
    with pytest.raises(BadInputError):
        check_level(level)


def test_a_p_value_that_underflows_is_small_and_not_zero() -> None:
    p_values = positive_p_values(np.array([0.0, 0.25, 1.0 + 1e-15]))
    assert 0 < p_values[0] < 1e-300
    assert p_values[1:].tolist() == [0.25, 1.0]
