"""Power: smallest significant difference, detectable difference and testable margin."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Literal

import numpy as np
from scipy import optimize, special

from mlprune.errors import BadInputError
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.paired_proportions import (
    equivalence_interval,
    mcnemar_exact_p_values,
    mcnemar_mid_p_values,
    tango_p_values,
)
from mlprune.numeric.statistics.variance_components import ErrorNumbers, ErrorParts
from mlprune.vocabulary import ClaimName

PairedTest = Literal["mcnemar_exact", "mcnemar_mid_p", "tango"]

P_VALUES: Mapping[PairedTest, Callable[[Array, Array], Array]] = {
    "mcnemar_exact": mcnemar_exact_p_values,
    "mcnemar_mid_p": mcnemar_mid_p_values,
    "tango": lambda gained, lost: tango_p_values(gained, lost, np.maximum(gained + lost, 1)),
}
"""p-values of gained and lost items: without a difference, Tango's test does not depend on the number of items."""

ALPHA = 0.05
"""Level of the tests of 95 % intervals."""
N_HALVINGS = 32
"""Bisection steps for a difference: its error is below 1e-9."""
NEGLIGIBLE = 1e-20
"""Numbers of discordant items with a smaller probability are left out of a power."""
MOST_CHANGED = 1400
"""More than the changed items of any p-value that float64 can hold."""
MOST_ITEMS = 10**9
"""Largest answer of `items_for_margin`."""
N_NODES = 32
"""Nodes of the Gauss-Legendre rule for each part of an estimated error."""


@lru_cache(maxsize=1024)
def fewest_changed(*, n_tests: int = 1, alpha: float = 0.05, test: PairedTest = "mcnemar_exact") -> int:
    """Return the smallest number of items whose change in one direction can be significant in a family of tests.

    Its p-value is below alpha / n_tests, the first step of Holm's correction. Sign flips of clusters that all change in
    one direction have the p-value of "mcnemar_mid_p".

    Raises:
        BadInputError: an argument is out of range.
    """
    threshold = _threshold(1, n_tests=n_tests, alpha=alpha)
    changed = np.arange(1.0, MOST_CHANGED)
    return 1 + int(np.argmax(P_VALUES[test](changed, np.zeros_like(changed)) < threshold))


def two_sided_quantile(n_tests: int, *, alpha: float = 0.05) -> float:
    """Return the normal quantile z(1 - alpha / (2 n_tests)) that a two-sided test of a family has to exceed.

    Raises:
        BadInputError: an argument is out of range.
    """
    return float(-special.ndtri(_threshold(1, n_tests=n_tests, alpha=alpha) / 2))


def detectable_difference(standard_error: float, *, n_tests: int = 1, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the true difference that a two-sided test finds with the given power.

    (z(1 - alpha / (2 n_tests)) + z(power)) * standard error, z the quantile of the normal distribution.

    Raises:
        BadInputError: an argument is out of range.
    """
    _check_power(standard_error, power=power)
    return (two_sided_quantile(n_tests, alpha=alpha) + float(special.ndtri(power))) * standard_error


def detectable_difference_of_mean(
    parts: ErrorParts, numbers: ErrorNumbers, *, claim: ClaimName = "gain", n_tests: int = 1, power: float = 0.8
) -> float:
    """Return the true difference that the test of a mean over seeds and clusters finds with the given power at 5 %.

    The test is that of `CrossedEstimate`: it rejects 0 if the estimate is farther from it than the half width h. The
    estimate varies with the whole error, and so does h, as each part of the error is estimated from n - 1 degrees of
    freedom: h^2 = sum over parts of t(n - 1)^2 * part * chi2(n - 1) / (n - 1), with t at 1 - 0.025 / n_tests. For one
    part alone, the power is that of noncentral t.

    The difference of a claim about a margin is the margin that is shown with this power if the true difference is 0: by
    one test with t at 1 - 0.05 / n_tests, for equivalence in both directions.

    The integral is exact over the part with the fewest degrees of freedom, and a Gauss-Legendre rule of 32 nodes on the
    scale of probabilities over the estimate and each other part: the power is off by less than 1e-4 up to 300 clusters
    and 0.005 from thousands on. A gain that is found as a loss counts as found.

    Args:
        parts: true parts of the squared error. Put in place of them, estimated ones give an estimate.
        numbers: of the draws of each part; without effect for a part without an error.
        n_tests: number of tests in the family.
    Raises:
        BadInputError: an argument is out of range, or a part has an error and fewer than two draws.
    """
    tail = _threshold(1, n_tests=n_tests, alpha=ALPHA) / (2 if claim == "gain" else 1)
    drawn = [(part, n - 1) for part, n in zip(parts, numbers, strict=True) if part != 0]
    for part, degrees in drawn:
        _check_power(part, power=power)
        if degrees < 1:
            raise BadInputError("a part of an error needs two draws", expected="at least 2", got=degrees + 1)
    error = sum(part for part, _ in drawn) ** 0.5
    if error == 0:
        return 0.0
    squares = [(float(special.stdtrit(degrees, tail)) ** 2 * part, degrees) for part, degrees in drawn]

    def excess(difference: float) -> float:
        return _power_of_mean(difference, error, squares=squares, claim=claim) - power

    largest = error
    while excess(largest) < 0:
        largest *= 2
    return float(optimize.brentq(excess, 0.0, largest, xtol=1e-12 * error)) if excess(0.0) < 0 else 0.0


def _power_of_mean(difference: float, error: float, *, squares: Sequence[tuple[float, int]], claim: ClaimName) -> float:
    """Return the probability that an estimate is farther from what is rejected than the half width of its interval.

    Args:
        error: standard error of the estimate.
        squares: expected squared half width and degrees of freedom of each part.
    """
    (largest, least), *others = sorted(squares, key=itemgetter(1))
    nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
    probabilities, weights = (1 + nodes) / 2, weights / 2
    noise = error * special.ndtri(probabilities)
    if claim == "gain":
        distances = difference + noise
    else:
        distances = np.maximum(0.0, difference + (noise if claim == "noninferior" else -np.abs(noise)))
    rest, of_all = distances**2, weights
    for square, degrees in others:
        rest = np.subtract.outer(rest, square * special.chdtri(degrees, probabilities) / degrees).ravel()
        of_all = np.multiply.outer(of_all, weights).ravel()
    return float(of_all @ special.chdtr(least, least * np.maximum(0.0, rest) / largest))


@lru_cache(maxsize=8192)
def detectable_difference_of_items(
    n: float,
    discordant_share: float,
    *,
    n_tests: int = 1,
    alpha: float = 0.05,
    power: float = 0.8,
    test: PairedTest = "mcnemar_exact",
) -> float | None:
    """Return the true difference of paired proportions that a test of n items finds with the given power.

    The power is exact: a sum over all numbers m of discordant items, from Binomial(n, share), and over all significant
    numbers of gained items, from Binomial(m, (1 + difference / share) / 2). The share of discordant items is
    `discordant_share`, or the difference if this is larger: then all changes have one direction. A p-value is
    significant below alpha / n_tests. None: even a change of all items is not found. 32 bisections.

    Args:
        n: number of items; an effective number is rounded down.
        discordant_share: share of items that exactly one of the two models answers correctly, in [0, 1].
        n_tests: number of tests in the family.
        alpha: level of the family.
        power: probability that the difference is significant.
        test: the test of the p-values.
    Raises:
        BadInputError: an argument is out of range.
    """
    threshold = _threshold(n, n_tests=n_tests, alpha=alpha)
    _check_power(discordant_share, power=power)
    if discordant_share > 1:
        raise BadInputError("a share is out of range", expected="0 to 1", got=discordant_share)
    fewest = _fewest_gained(int(n), test, threshold)
    if paired_power(fewest, difference=1.0, discordant_share=1.0) < power:
        return None
    low, high = 0.0, 1.0
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        share = max(discordant_share, middle)
        if paired_power(fewest, difference=middle, discordant_share=share) < power:
            low = middle
        else:
            high = middle
    return high


def paired_power(fewest_gained: Array, *, difference: float, discordant_share: float) -> float:
    """Return the probability that a two-sided test of paired items is significant.

    Args:
        fewest_gained: [n + 1], for m = 0 to n discordant items the smallest number of gained items that is significant
            (more than m: none); as many lost items are significant too.
        difference: true difference, at most the share.
        discordant_share: share of discordant items, above 0.
    """
    n = len(fewest_gained) - 1
    discordant = np.arange(n + 1.0)
    ways = special.gammaln(n + 1) - special.gammaln(discordant + 1) - special.gammaln(n - discordant + 1)
    logs = special.xlogy(discordant, discordant_share) + special.xlog1py(n - discordant, -discordant_share)
    probabilities = np.exp(ways + logs)
    is_possible = (fewest_gained <= discordant) & (probabilities > NEGLIGIBLE)
    m, fewest = discordant[is_possible], fewest_gained[is_possible]
    gain = (1 + difference / discordant_share) / 2
    rejected = special.bdtrc(fewest - 1, m, gain) + special.bdtr(m - fewest, m, gain)
    return float((probabilities[is_possible] * rejected).sum())


def testable_margin(n: float, *, n_lost: float = 0, alpha: float = 0.05) -> float:
    """Return the margin above which n items show non-inferiority if `n_lost` are lost and none is gained.

    The low end of `equivalence_interval`, without its sign.

    Raises:
        BadInputError: an argument is out of range.
    """
    return -equivalence_interval(0, n_lost, n, level=1 - 2 * alpha).low


def testable_margin_of_estimate(
    standard_error: float, *, alpha: float = 0.05, power: float = 0.8, is_two_sided: bool = False
) -> float:
    """Return the margin that a test of an estimate supports with the given power if the true difference is 0.

    (z(1 - alpha) + z(power)) * standard error for non-inferiority; z((1 + power) / 2) in the place of z(power) for
    equivalence, where both directions have to succeed.

    Raises:
        BadInputError: an argument is out of range.
    """
    _check_power(standard_error, power=power)
    threshold = _threshold(1, n_tests=1, alpha=alpha)
    success = (1 + power) / 2 if is_two_sided else power
    return float(special.ndtri(1 - threshold) + special.ndtri(success)) * standard_error


def items_for_margin(margin: float, *, n_lost: int = 0, alpha: float = 0.05) -> int:
    """Return the smallest number of items whose testable margin is below `margin`.

    Raises:
        BadInputError: the margin or the level is out of range, or more than 10^9 items are needed.
    """
    if not 0 < margin < 1:
        raise BadInputError("a margin is out of range", expected="0 < margin < 1", got=margin)
    low, high = n_lost, max(1, 2 * n_lost)
    while testable_margin(high, n_lost=n_lost, alpha=alpha) >= margin:
        low, high = high, 2 * high
        if high > MOST_ITEMS:
            raise BadInputError("a margin needs too many items", expected=f"at most {MOST_ITEMS}", margin=margin)
    while high - low > 1:
        middle = (low + high) // 2
        is_testable = testable_margin(middle, n_lost=n_lost, alpha=alpha) < margin
        low, high = (low, middle) if is_testable else (middle, high)
    return high


@lru_cache(maxsize=64)
def _fewest_gained(n: int, test: PairedTest, threshold: float) -> Array:
    """Return the smallest number of gained items with a p-value below the threshold for 0 to n discordant items."""
    discordant = np.arange(n + 1.0)
    low, high = np.floor((discordant - 1) / 2), discordant + 1
    while (high - low > 1).any():
        middle = np.clip(np.floor((low + high) / 2), 0, discordant)
        is_significant = (P_VALUES[test](middle, discordant - middle) < threshold) & (2 * middle >= discordant)
        low, high = np.where(is_significant, low, np.floor((low + high) / 2)), np.where(is_significant, middle, high)
    return high


def _threshold(n: float, *, n_tests: int, alpha: float) -> float:
    """Return the level of each test in a family, checked."""
    if not n >= 1 or n_tests < 1 or not 0 < alpha < 0.5:
        got = {"n": n, "n_tests": n_tests, "alpha": alpha}
        raise BadInputError("power is undefined", expected="n >= 1, n_tests >= 1, 0 < alpha < 0.5", got=got)
    return alpha / n_tests


def _check_power(spread: float, *, power: float) -> None:
    if not 0 < power < 1 or not spread >= 0:
        got = {"power": power, "spread": spread}
        raise BadInputError("power is undefined", expected="0 < power < 1, spread >= 0", got=got)
