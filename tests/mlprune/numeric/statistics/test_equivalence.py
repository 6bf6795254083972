"""Non-inferiority and equivalence: against binomial tails, their own intervals and enumerated levels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mlprune.errors import BadInputError
from mlprune.numeric.statistics.equivalence import (
    equivalence_interval,
    noninferiority_p_value,
)
from mlprune.numeric.statistics.paired_proportions import tango_interval, tango_scores

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
OUTCOMES = [(0, 0, 150), (0, 1, 150), (3, 0, 150), (10, 12, 150), (1, 7, 21), (0, 21, 21), (30, 20, 50)]


@pytest.mark.parametrize(("n_lost", "points"), [(0, 2.0), (1, 3.1)])
def test_the_limit_of_lost_items_alone_is_that_of_the_exact_binomial_test(n_lost: int, points: float) -> None:
    for margin in (0.01, 0.02, 0.03, 0.05):
        expected = stats.binom.cdf(n_lost, 150, margin)
        p_value = noninferiority_p_value(0, n_lost, 150, margin=margin)
        assert p_value == pytest.approx(expected, rel=1e-9) if expected > 0.04 else p_value >= expected
    exact = stats.binomtest(n_lost, 150).proportion_ci(0.90, method="exact").high
    assert equivalence_interval(0, n_lost, 150).low == pytest.approx(-exact, rel=1e-9)
    assert round(100 * exact, 1) == points


def test_with_many_changed_items_the_test_is_that_of_tango() -> None:
    expected = stats.norm.sf(float(tango_scores(15, 17, 150, difference=-0.1)))
    assert noninferiority_p_value(15, 17, 150, margin=0.1) == pytest.approx(expected, rel=1e-9)
    interval, tango = equivalence_interval(15, 17, 150), tango_interval(15, 17, 150, level=0.90)
    assert (interval.low, interval.high) == (tango.low, tango.high)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_margin_is_significant_exactly_outside_of_the_90_percent_interval(outcome: tuple[int, int, int]) -> None:
    interval = equivalence_interval(*outcome)
    for margin in np.linspace(0.004, 0.996, 125).tolist():
        p_value = noninferiority_p_value(*outcome, margin=margin)
        assert (p_value < 0.05) == (interval.low > -margin)
        gained, lost, n = outcome
        is_equivalent = max(p_value, noninferiority_p_value(lost, gained, n, margin=margin)) < 0.05
        assert is_equivalent == (interval.low > -margin and interval.high < margin)


@PROPERTY
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 300))
def test_a_larger_margin_is_easier_and_a_further_loss_harder(gained: int, lost: int, same: int) -> None:
    n = gained + lost + same + 1
    p_values = [noninferiority_p_value(gained, lost, n, margin=margin) for margin in np.linspace(0.01, 0.99, 50)]
    assert (np.diff(p_values) <= 0).all()
    worse = noninferiority_p_value(gained, lost + 1, n, margin=0.1)
    assert worse >= noninferiority_p_value(gained, lost, n, margin=0.1) > 0


def level_of_noninferiority(n: int, margin: float, gain: float) -> float:
    """Probability of significance where the true difference is -margin, summed over all outcomes that matter."""
    level = 0.0
    for lost in range(n + 1):
        weight = stats.binom.pmf(lost, n, gain + margin)
        gained = np.arange(min(12, n - lost) + 1)
        chances = stats.binom.pmf(gained, n - lost, gain / (1 - gain - margin))
        if weight * chances.max() > 1e-6:
            significant = [noninferiority_p_value(int(b), lost, n, margin=margin) < 0.05 for b in gained]
            level += float(weight * (chances * significant).sum())
    return level


@pytest.mark.parametrize("margin", [0.0178, 0.02, 0.03])
@pytest.mark.parametrize("gain", [0.0, 0.002])
def test_the_level_is_kept_where_few_items_change(margin: float, gain: float) -> None:
    assert level_of_noninferiority(150, margin, gain) <= 0.051


def test_arguments_out_of_range_are_errors() -> None:
    for margin in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(BadInputError):
            noninferiority_p_value(0, 0, 10, margin=margin)
    with pytest.raises(BadInputError):
        equivalence_interval(8, 3, 10)
