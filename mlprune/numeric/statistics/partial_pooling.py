"""Partial pooling: effects of several groups that are drawn from one normal distribution, with known errors.

The normal hierarchical model of Rubin (Journal of Educational Statistics 6, 1981) and Gelman et al. (Bayesian Data
Analysis, 3rd edition, sections 5.4 and 5.5), here with correlated errors, because languages share items. The prior
of the standard deviation is DuMouchel's (Röver, Journal of Statistical Software 93(6), 2020, section 2.3).
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from mlprune.errors import PermanentError, ShapeError
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.clusters import Interval

FEWEST_GROUPS = 3
"""With fewer groups, the data say hardly anything about their standard deviation."""
N_DEVIATIONS = 200
"""Points of the integral over the standard deviation of the groups."""
N_BISECTIONS = 60


@dataclass(frozen=True)
class Pooled:
    """Estimates of one model; every interval accounts for what is not known of the mean and the deviation."""

    effects: Array
    """[L] posterior means of the groups' true effects."""
    intervals: tuple[Interval, ...]
    """Of each effect."""
    mean: float
    """Posterior mean of the mean of all groups that could be drawn."""
    mean_interval: Interval
    new_interval: Interval
    """Of the true effect of a further group."""
    deviation: float
    """Posterior median of the standard deviation of the true effects."""
    deviation_interval: Interval


@dataclass(frozen=True)
class Conditional:
    """Normal posterior distributions given standard deviations of the groups, one row each."""

    log_likelihoods: Array
    """[K] restricted log-likelihood of each deviation, up to a constant."""
    effects: Array
    """[K, L] means."""
    errors: Array
    """[K, L] standard deviations."""
    means: Array
    """[K] means of the groups' mean."""
    mean_errors: Array
    """[K]."""


def given_deviations(values: Array, covariance: Array, *, deviations: Array) -> Conditional:
    """Return what is known of effects and their mean if the standard deviation t of the effects is given.

    y ~ N(theta, V), theta ~ N(m, t^2 I), a flat prior on m. With W = (V + t^2 I)^-1 and w = sum(W):
    m^ = 1'W y / w; effects y - V W (y - m^); their covariance V - V W V + V W 1 1' W V / w;
    restricted log-likelihood -(log det(V + t^2 I) + log w + (y - m^)' W (y - m^)) / 2

    Args:
        values: y, [L].
        covariance: V, [L, L], of the errors of y.
        deviations: t, [K], above 0.
    """
    eigenvalues, vectors = np.linalg.eigh(covariance)
    eigenvalues = np.maximum(eigenvalues, 0.0)
    rotated, ones = vectors.T @ values, vectors.sum(axis=0)
    inverse = 1 / (eigenvalues + deviations[:, None] ** 2)
    weights = inverse @ ones**2
    means = inverse @ (ones * rotated) / weights
    residuals = rotated - means[:, None] * ones
    pull = eigenvalues * inverse
    of_mean = (pull * ones) @ vectors.T
    own = (eigenvalues - eigenvalues * pull) @ (vectors**2).T
    fit = -np.log(inverse).sum(axis=1) + np.log(weights) + (inverse * residuals**2).sum(axis=1)
    return Conditional(
        log_likelihoods=-fit / 2,
        effects=values - (pull * residuals) @ vectors.T,
        errors=np.sqrt(np.maximum(own, 0.0) + of_mean**2 / weights[:, None]),
        means=means,
        mean_errors=1 / np.sqrt(weights),
    )


def partial_pooling(values: Array, covariance: Array, *, level: float = 0.95) -> Pooled:
    """Estimate the true effects of groups that are drawn from one normal distribution.

    The prior of the mean is flat, that of the standard deviation t is s / (s + t)^2, with s^2 the harmonic mean of the
    variances of the errors: u = t / (s + t) is uniform in (0, 1), so that the median of t is a typical error. The
    posterior distribution is integrated at 200 midpoints of u. Intervals have equal tails.

    Args:
        values: [L], at least three.
        covariance: [L, L], of their errors.
        level: coverage, in (0, 1).
    Raises:
        ShapeError: there are fewer than three values, or the two do not fit.
        PermanentError: a value has no error.
    """
    n = len(values)
    if n < FEWEST_GROUPS or covariance.shape != (n, n):
        expected = f"at least {FEWEST_GROUPS} values and their covariance"
        raise ShapeError("values cannot be pooled", expected=expected, got=(values.shape, covariance.shape))
    variances = np.diag(covariance)
    if not (variances > 0).all():
        raise PermanentError("a value without an error cannot be pooled", index=int(np.argmin(variances)))
    scale = float(np.sqrt(n / (1 / variances).sum()))
    shares = (np.arange(N_DEVIATIONS) + 0.5) / N_DEVIATIONS
    deviations = scale * shares / (1 - shares)
    given = given_deviations(values, covariance, deviations=deviations)
    posterior = np.exp(given.log_likelihoods - given.log_likelihoods.max())
    posterior /= posterior.sum()
    tails = (1 - level) / 2, (1 + level) / 2
    of_new = np.hypot(given.mean_errors, deviations)
    means = np.column_stack([given.effects, given.means, given.means])
    errors = np.column_stack([given.errors, given.mean_errors, of_new])
    low, high = (_quantiles(posterior, means, errors, share=share) for share in tails)
    intervals = tuple(Interval(float(a), float(b)) for a, b in zip(low, high, strict=True))
    ends = [_deviation_at(posterior, share, scale=scale) for share in (*tails, 0.5)]
    return Pooled(
        effects=posterior @ given.effects,
        intervals=intervals[:n],
        mean=float(posterior @ given.means),
        mean_interval=intervals[n],
        new_interval=intervals[n + 1],
        deviation=ends[2],
        deviation_interval=Interval(ends[0], ends[1]),
    )


def _quantiles(posterior: Array, means: Array, errors: Array, *, share: float) -> Array:
    """Return the quantiles of mixtures of normal distributions, [columns], by bisection.

    Args:
        posterior: [K] weights.
        means: [K, columns].
        errors: [K, columns].
    """
    reach = 40 * errors
    low, high = (means - reach).min(axis=0), (means + reach).max(axis=0)
    for _ in range(N_BISECTIONS):
        middle = (low + high) / 2
        is_below = posterior @ special.ndtr((middle - means) / errors) < share
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return np.asarray((low + high) / 2)


def _deviation_at(posterior: Array, share: float, *, scale: float) -> float:
    """Return a quantile of the standard deviation: linear in u between the borders of the midpoints' cells."""
    borders = np.linspace(0.0, 1.0, N_DEVIATIONS + 1)
    u = float(np.interp(share, np.concatenate([[0.0], np.cumsum(posterior)]), borders))
    return scale * u / (1 - u)
