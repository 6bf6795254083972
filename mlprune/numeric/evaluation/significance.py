"""Confidence intervals and p-values: paired bootstrap, exact McNemar test, normal approximation, Holm's correction.

p-values are not counted from resamples: the smallest one of 1,000 resamples is 0.002, and after Holm's correction over
a sweep no comparison would be significant.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlprune.errors import BadInputError, PermanentError, ShapeError


def resampled_indices(n: int, *, n_resamples: int = 1000, seed: int = 0) -> NDArray[np.int32]:
    """Draw the items of each bootstrap resample.

    The bootstrap is paired: all variants and languages of a task use the same draws.

    Args:
        n: number of items.
        n_resamples: number of resamples.
        seed: seed of the PCG64 generator.
    Returns: [n_resamples, n], int32, in [0, n).
    Raises:
        BadInputError: there are no items or no resamples.
    """
    if n < 1 or n_resamples < 1:
        raise BadInputError("nothing to resample", expected="n and n_resamples >= 1", got=(n, n_resamples))
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.integers(0, n, size=(n_resamples, n), dtype=np.int32)


def percentile_interval(samples: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Return the (1 - level) / 2 and (1 + level) / 2 quantiles, interpolated linearly.

    Args:
        samples: [n_resamples], one statistic per resample.
        level: coverage, in (0, 1).
    Raises:
        ShapeError: `samples` is not a vector, or empty.
        PermanentError: a sample is not finite.
        BadInputError: the level is out of range.
    """
    if not 0 < level < 1:
        raise BadInputError("a level is out of range", expected="0 < level < 1", got=level)
    if samples.ndim != 1 or samples.size == 0:
        raise ShapeError("an interval needs a vector of samples", expected="[n_resamples]", got=samples.shape)
    if not np.isfinite(samples).all():
        raise PermanentError("a resampled statistic is not finite", n_wrong=int((~np.isfinite(samples)).sum()))
    low, high = np.quantile(samples.astype(np.float64), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mcnemar_exact(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> float:
    """Return the p-value of McNemar's exact test of two classifiers: two-sided binomial on the discordant pairs.

    p = min(1, 2 * P(X <= min(b, c))) with X ~ Binomial(b + c, 1/2); 1 if no pair is discordant.

    Args:
        correct_a: bool [n], whether the first classifier is right on each item.
        correct_b: bool [n], the same of the second classifier.
    Raises:
        ShapeError: the two differ in shape, or are not boolean.
    """
    if correct_a.shape != correct_b.shape or {correct_a.dtype, correct_b.dtype} != {np.dtype(np.bool_)}:
        expected, got = (f"{correct.dtype} {correct.shape}" for correct in (correct_a, correct_b))
        raise ShapeError("paired outcomes differ in shape or dtype", expected=expected, got=got)
    only_a = int((correct_a & ~correct_b).sum())
    only_b = int((correct_b & ~correct_a).sum())
    if only_a == only_b:
        return 1.0
    return min(1.0, 2.0 * float(special.bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def normal_p_value(difference: float, standard_error: float) -> float:
    """Return the two-sided normal p-value of a difference: 2 * Phi(-|d| / se).

    If se = 0, all resamples gave d: p is 1 for d = 0, and 0 for any other d, the limit of the formula. A single item
    also has se = 0, so a p-value of 0 has to be read together with the number of items.

    Args:
        difference: d, finite.
        standard_error: standard deviation of d over the bootstrap resamples, finite, >= 0.
    Raises:
        PermanentError: an argument is not finite, or the standard error is negative.
    """
    if not np.isfinite(difference) or not np.isfinite(standard_error) or standard_error < 0:
        raise PermanentError("the p-value is undefined", difference=difference, standard_error=standard_error)
    if standard_error == 0:
        return 1.0 if difference == 0 else 0.0
    with np.errstate(over="ignore"):
        ratio = np.float64(abs(difference)) / np.float64(standard_error)
    return float(2.0 * special.ndtr(-ratio))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust a family of p-values by Holm's step-down method.

    With p sorted ascending, adjusted_(i) = min(1, max over k <= i of (m - k) * p_(k)), k from 0.

    Args:
        p_values: the family, in any order.
    Returns: adjusted p-values in the order of `p_values`.
    Raises:
        PermanentError: a value is not in [0, 1].
    """
    family = np.asarray(p_values, dtype=np.float64)
    wrong = ~((family >= 0) & (family <= 1))
    if wrong.any():
        raise PermanentError("not a p-value", index=int(np.argmax(wrong)), got=float(family[np.argmax(wrong)]))
    order = np.argsort(family, kind="stable")
    stepped = family[order] * np.arange(family.size, 0, -1)
    adjusted = np.empty_like(family)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return [float(value) for value in adjusted]
