"""Tango's test and interval, and McNemar's tests: against loops, scipy, published examples and each other."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from mlprune.errors import BadInputError
from mlprune.numeric.statistics.paired_proportions import (
    equivalence_interval,
    mcnemar_exact,
    mcnemar_exact_p_values,
    mcnemar_mid_p,
    mcnemar_mid_p_values,
    noninferiority_p_value,
    superiority_p_value,
    tango_interval,
    tango_p_value,
    tango_p_values,
    tango_scores,
)

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def tango_intervals(gained: np.ndarray, lost: np.ndarray, n: int, *, level: float = 0.95) -> np.ndarray:
    """Return the low and the high ends, [2, rows]."""
    intervals = (tango_interval(int(b), int(c), n, level=level) for b, c in zip(gained, lost, strict=True))
    return np.array([(interval.low, interval.high) for interval in intervals]).T


@st.composite
def paired_counts(draw: st.DrawFn) -> tuple[int, int, int]:
    n = draw(st.integers(1, 400))
    gained = draw(st.integers(0, n))
    return gained, draw(st.integers(0, n - gained)), n


def counts_of_all_outcomes(n: int) -> tuple[np.ndarray, np.ndarray]:
    gained, lost = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    is_possible = gained + lost <= n
    return gained[is_possible], lost[is_possible]


def likelihood_score(gained: int, lost: int, n: int, difference: float) -> float:
    """The score statistic with the nuisance parameter found by maximising the trinomial likelihood numerically."""

    def loss(q: float) -> float:
        probabilities = (q + difference, q, 1 - 2 * q - difference)
        counts = (gained, lost, n - gained - lost)
        return -sum(count * math.log(p) for count, p in zip(counts, probabilities, strict=True) if count)

    lowest, highest = max(0.0, -difference), (1 - difference) / 2
    best = optimize.minimize_scalar(loss, bounds=(lowest + 1e-12, highest - 1e-12), options={"xatol": 1e-12})
    variance = n * (2 * best.x + difference - difference**2)
    return (gained - lost - n * difference) / math.sqrt(variance)


@pytest.mark.parametrize("counts", [(9, 4, 30), (4, 9, 30), (12, 1, 150), (30, 30, 61)])
@pytest.mark.parametrize("difference", [-0.6, -0.11, 0.02, 0.35])
def test_the_score_is_that_of_the_maximised_likelihood(counts: tuple[int, int, int], difference: float) -> None:
    expected = likelihood_score(*counts, difference)
    assert float(tango_scores(*counts, difference=difference)) == pytest.approx(expected, rel=1e-5)


def test_the_airway_data_of_fagerland_lydersen_and_laake() -> None:
    """Statistics in Medicine 33 (2014) 2850-2875: 1 and 7 discordant of 21 children."""
    interval = tango_interval(1, 7, 21)
    assert (round(interval.low, 3), round(interval.high, 3)) == (-0.517, -0.026)
    assert round(tango_p_value(1, 7, 21), 3) == 0.034
    assert round(mcnemar_mid_p(1, 7), 3) == 0.039
    assert round(mcnemar_exact(1, 7), 3) == 0.070


def test_an_interval_of_the_r_package_propcis() -> None:
    """scoreci.mp(25, 28, 618, 0.90): its difference is that of the second count minus the first."""
    interval = tango_interval(28, 25, 618, level=0.90)
    assert (round(interval.low, 4), round(interval.high, 4)) == (-0.0148, 0.0247)


def test_without_discordant_items_the_interval_of_150_items_is_two_and_a_half_points_on_each_side() -> None:
    interval = tango_interval(0, 0, 150)
    squared = stats.norm.ppf(0.975) ** 2
    assert interval.high == pytest.approx(squared / (150 + squared), rel=1e-12)
    assert interval.low == -interval.high
    assert round(interval.high, 4) == 0.0250
    assert tango_p_value(0, 0, 150) == 1.0


def test_if_all_items_change_the_interval_ends_at_1() -> None:
    assert tango_interval(150, 0, 150).high == 1.0
    assert tango_interval(0, 150, 150).low == -1.0
    assert 0.9 < tango_interval(150, 0, 150).low < 1


def intervals(gained: np.ndarray, lost: np.ndarray, n: int, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The low and the high ends of the intervals of many outcomes."""
    found = [tango_interval(int(b), int(c), n, level=level) for b, c in zip(gained, lost, strict=True)]
    return np.array([one.low for one in found]), np.array([one.high for one in found])


@pytest.mark.parametrize("level", [0.5, 0.90, 0.95, 0.999])
def test_an_interval_excludes_zero_exactly_if_the_p_value_is_below_its_complement(level: float) -> None:
    for n in (1, 2, 7, 16):
        gained, lost = counts_of_all_outcomes(n)
        low, high = intervals(gained, lost, n, level=level)
        is_significant = tango_p_values(gained, lost, n) < 1 - level
        assert np.array_equal(is_significant, (low > 0) | (high < 0))
        assert ((low <= (gained - lost) / n) & ((gained - lost) / n <= high)).all()
        assert low.min() >= -1
        assert high.max() <= 1
        assert (high - low > 0.5 / (n + 10)).all()


@PROPERTY
@given(paired_counts(), st.sampled_from([0.90, 0.95, 0.9999]))
def test_the_test_rejects_no_difference_within_the_interval_and_all_differences_outside(
    counts: tuple[int, int, int], level: float
) -> None:
    interval = tango_interval(*counts, level=level)
    for end, outward in ((interval.low, -1e-9), (interval.high, 1e-9)):
        assert tango_p_value(*counts, difference=end - outward) >= 1 - level
        if abs(end + outward) < 1:
            assert tango_p_value(*counts, difference=end + outward) < 1 - level


@PROPERTY
@given(paired_counts())
def test_the_score_falls_as_the_null_difference_rises(counts: tuple[int, int, int]) -> None:
    scores = tango_scores(*counts, difference=np.linspace(-0.999, 0.999, 101))
    assert (np.diff(scores) < 0).all()


def test_one_more_gained_item_moves_both_ends_up() -> None:
    n = 16
    gained, lost = counts_of_all_outcomes(n)
    ends = np.full((2, n + 1, n + 1), np.nan)
    ends[:, gained, lost] = intervals(gained, lost, n)
    steps = np.diff(ends, axis=1)
    assert (steps[~np.isnan(steps)] > 0).all()


@PROPERTY
@given(paired_counts())
def test_exchanging_the_models_turns_the_interval_around(counts: tuple[int, int, int]) -> None:
    gained, lost, n = counts
    interval, turned = tango_interval(gained, lost, n), tango_interval(lost, gained, n)
    assert (turned.low, turned.high) == (-interval.high, -interval.low)
    assert tango_p_value(gained, lost, n, difference=0.03) == tango_p_value(lost, gained, n, difference=-0.03)


def test_effective_counts_may_be_fractions() -> None:
    whole, half = tango_interval(8, 4, 100), tango_interval(4, 2, 50)
    between = tango_interval(6.0, 3.0, 75.0)
    assert whole.width < between.width < half.width
    assert tango_p_value(8, 4, 100) < tango_p_value(6.0, 3.0, 75.0) < tango_p_value(4, 2, 50)


def test_no_p_value_is_zero() -> None:
    assert 0 < tango_p_value(5010, 0, 5010) < 1e-300
    assert 0 < mcnemar_exact(5010, 0) < 1e-300
    assert 0 < mcnemar_mid_p(5010, 0) < 1e-300


def test_exact_and_mid_p_values_are_sums_of_binomial_probabilities() -> None:
    gained, lost = counts_of_all_outcomes(25)
    exact, mid_p = mcnemar_exact_p_values(gained, lost), mcnemar_mid_p_values(gained, lost)
    for b, c, p, middle in zip(gained.tolist(), lost.tolist(), exact, mid_p, strict=True):
        probabilities = [math.comb(b + c, k) / 2 ** (b + c) for k in range(min(b, c) + 1)]
        assert p == pytest.approx(min(1.0, 2 * sum(probabilities)), rel=1e-12)
        assert middle == pytest.approx(2 * sum(probabilities[:-1]) + probabilities[-1], rel=1e-12)
        assert p == pytest.approx(stats.binomtest(b, b + c).pvalue if b + c else 1.0, rel=1e-12)


@pytest.mark.parametrize("counts", [(-1, 0, 5), (0, -1, 5), (3, 3, 5), (0, 0, 0), (math.nan, 0, 5), (0, 0, math.nan)])
def test_impossible_counts_are_errors(counts: tuple[float, float, float]) -> None:
    for function in (tango_p_value, tango_interval):
        with pytest.raises(BadInputError):
            function(*counts)


def test_other_arguments_out_of_range_are_errors() -> None:
    with pytest.raises(BadInputError):
        tango_p_value(1, 2, 9, difference=1.5)
    with pytest.raises(BadInputError):
        tango_interval(1, 2, 9, level=1.0)
    for gained, lost in ((0.5, 1), (1, -2), (math.nan, 1)):
        for function in (mcnemar_exact, mcnemar_mid_p):
            with pytest.raises(BadInputError):
                function(gained, lost)


OUTCOMES = [(0, 0, 150), (0, 1, 150), (3, 0, 150), (10, 12, 150), (1, 7, 21), (0, 21, 21), (30, 20, 50)]


@pytest.mark.parametrize(("n_lost", "points"), [(0, 2.0), (1, 3.1)])
def test_the_limit_of_lost_items_alone_is_that_of_the_exact_binomial_test(n_lost: int, points: float) -> None:
    for margin in (0.01, 0.02, 0.03, 0.05):
        expected = stats.binom.cdf(n_lost, 150, margin)
        p_value = noninferiority_p_value(0, n_lost, 150, margin=margin)
        assert p_value == pytest.approx(expected, rel=1e-9) if 0.04 < expected < 0.5 else p_value >= min(0.5, expected)
    exact = stats.binomtest(n_lost, 150).proportion_ci(0.90, method="exact").high
    assert equivalence_interval(0, n_lost, 150).low == pytest.approx(-exact, rel=1e-9)
    assert round(100 * exact, 1) == points


def test_with_many_changed_items_the_test_is_that_of_tango() -> None:
    expected = stats.norm.sf(float(tango_scores(15, 17, 150, difference=-0.1)))
    assert noninferiority_p_value(15, 17, 150, margin=0.1) == pytest.approx(expected, rel=1e-9)
    interval, tango = equivalence_interval(15, 17, 150), tango_interval(15, 17, 150, level=0.90)
    assert (interval.low, interval.high) == (tango.low, tango.high)


@pytest.mark.parametrize(("gained", "lost"), [(0, 10), (20, 60), (3, 40)])
def test_a_loss_beyond_the_margin_has_tangos_p_value_for_the_opposite(gained: int, lost: int) -> None:
    expected = stats.norm.cdf(float(tango_scores(gained, lost, 200, difference=-0.04)))
    assert 1 - noninferiority_p_value(gained, lost, 200, margin=0.04) == pytest.approx(expected, abs=1e-12)


def plain_superiority(gained: int, lost: int, n: int, margin: float) -> float:
    """The exact tail at the likeliest share of lost items, outcome by outcome."""

    def loss(q: float) -> float:
        chances = zip((gained, lost, n - gained - lost), (q + margin, q, 1 - 2 * q - margin), strict=True)
        return -sum(count * math.log(p) for count, p in chances if count)

    best = optimize.minimize_scalar(loss, bounds=(1e-15, (1 - margin) / 2 - 1e-15), options={"xatol": 1e-14}).x
    tail = 0.0
    for c in range(n + 1):
        for b in range(n - c + 1):
            if b - c >= gained - lost:
                ways = math.comb(n, b) * math.comb(n - b, c)
                tail += ways * (best + margin) ** b * best**c * (1 - 2 * best - margin) ** (n - b - c)
    return tail


@pytest.mark.parametrize("counts", [(8, 0, 40), (7, 2, 40), (0, 0, 30), (2, 9, 30), (30, 0, 30)])
def test_superiority_by_a_margin_is_the_exact_tail_at_the_likeliest_nuisance(counts: tuple[int, int, int]) -> None:
    p_value = superiority_p_value(*counts, margin=0.06)
    assert p_value == pytest.approx(plain_superiority(*counts, 0.06), rel=1e-6)


@pytest.mark.parametrize("margin", [0.02, 0.05])
@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05])
def test_superiority_by_a_margin_keeps_the_levels_of_families(margin: float, loss: float) -> None:
    """Ten questions have 0.5 % each. Tango's score alone reaches up to 1.9 times the level here."""
    n, levels = 150, (0.05, 0.0125, 0.005)
    sizes = dict.fromkeys(levels, 0.0)
    for lost in range(20):
        for gained in range(lost + 1, lost + 30):
            weight = stats.binom.pmf(lost, n, loss) * stats.binom.pmf(gained, n - lost, (loss + margin) / (1 - loss))
            if weight < 1e-9 or gained - lost < n * margin:
                continue
            p_value = superiority_p_value(gained, lost, n, margin=margin)
            for level in levels:
                sizes[level] += weight * (p_value < level)
    assert all(size <= level for level, size in sizes.items())


def test_superiority_needs_whole_counts_and_a_margin() -> None:
    with pytest.raises(BadInputError):
        superiority_p_value(1.5, 0, 20, margin=0.1)
    with pytest.raises(BadInputError):
        superiority_p_value(1, 0, 20, margin=0.0)


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
