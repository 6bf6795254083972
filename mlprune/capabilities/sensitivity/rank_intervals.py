"""Spearman's rank correlation of values that are known up to sampling error, with an interval for the true values.

Sampling error changes ranks: the correlation of measured values is too close to 0 (or too large, if the errors of both
sides are correlated), and that of resampled values even more. The interval is therefore that of a normal model of true
values, whose noise is the observed one.
"""

from dataclasses import dataclass

import numpy as np

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.arrays import Array
from mlprune.numeric.evaluation.choice import TIED
from mlprune.numeric.statistics.bootstrap import percentile_interval
from mlprune.numeric.statistics.clusters import Interval, check_level
from mlprune.numeric.statistics.multiplicity import ranks_with_ties

LEAST_UNITS = 3
RIDGE = 1e-12
"""Added to the variances, in units of the observed ones, so that a matrix without noise has an inverse."""
N_DEVIATIONS, LARGEST_DEVIATION, N_CORRELATIONS = 24, 2.0, 48
"""Grid of the true standard deviations, in units of the observed ones, and of the true correlation."""


@dataclass(frozen=True)
class RankAgreement:
    """Rank correlation of two sides over units."""

    value: float
    """Of the measured values."""
    corrected: float
    """Median of the draws: without the effect of sampling error on the ranks."""
    interval: Interval
    """For the true values; `value` may be outside."""


def spearman(first: Array, second: Array) -> Array:
    """Return the correlation of `ranks_with_ties` along the last axis, [...]; not a number if one side is constant."""
    one, other = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in map(ranks_with_ties, (first, second)))
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.sqrt((one**2).sum(axis=-1) * (other**2).sum(axis=-1))
        return np.asarray(np.clip((one * other).sum(axis=-1) / scale, -1.0, 1.0))


def rank_agreement(measured: Array, resampled: Array, *, level: float = 0.95, seed: int = 0) -> RankAgreement | None:
    """Return Spearman's correlation of two sides over n units, with an interval for the true values.

    Measured values are o_u = t_u + e_u, [2]: the units' true values t have covariance T over units, and the errors e_u
    the covariance E_u of the resamples of unit u. Both sides are divided by their standard deviation over units; means
    over units are subtracted from o, and from the noise N_ru = resampled_ru - o_u of each resample, as ranks do not
    depend on them. T has standard deviations (i - 1/2) / 12 for i = 1 to 24 on both sides, and the correlation
    sin(pi * (j - 24.5) / 48) for j = 1 to 48, all combinations equally likely before the data. With S, the covariance
    of o (divisor n - 1), and E, the mean of E_u, the posterior probability of T is proportional to

    exp(-(n - 1) / 2 * (ln |T + E| + trace((T + E)^-1 S)))

    For each resample r, a T_r is drawn from these, and true values given the measured ones:

    K_ru = T_r (T_r + E_u)^-1,  z_ru from the normal distribution with covariance T_r
    t_ru = z_ru + K_ru (o_u - z_ru - N_ru)

    The ends of the interval are the quantiles (type 7) of the correlations of t_r, `corrected` is their median. Equal
    measured values are equal up to multiples of 2^-30.

    The model is normal. In simulations with 200 clusters and 100 repetitions per case, 95 % intervals of normal losses
    covered the true correlation in 91 to 100 %. Skewed losses are covered too rarely if languages agree: 63 and 84 %
    for log-normal losses of 24 units with a correlation of 0.95 before the exponential and errors of 0.1 and 0.4.

    One `Generator(PCG64(seed))` draws R uniform numbers, which choose T_r from the cumulative probabilities in the
    order of the first deviation, the second one and the correlation, and then the normal numbers of z, [R, n, 2].

    Args:
        measured: [n, 2], n >= 3.
        resampled: [R, n, 2], from resamples of clusters that all units and both sides share.
        level: coverage, in (0, 1).
        seed: seed of the generator.
    Returns: None if all values of a side are equal.
    Raises:
        ShapeError: the two do not fit.
        BadInputError: there are fewer than three units, or the level is out of range.
        PermanentError: a value is not finite.
    """
    check_level(level)
    if measured.ndim != 2 or measured.shape[1] != 2 or not len(resampled) or resampled.shape[1:] != measured.shape:
        raise ShapeError("resamples do not fit the units", expected=f"[R, {len(measured)}, 2]", got=resampled.shape)
    if len(measured) < LEAST_UNITS:
        raise BadInputError("too few units for a rank correlation", expected=f">= {LEAST_UNITS}", got=len(measured))
    if not np.isfinite(measured).all() or not np.isfinite(resampled).all():
        raise PermanentError("the value of a unit is not finite")
    value = float(spearman(*np.rint(measured / TIED).T))
    if np.isnan(value):
        return None
    draws = spearman(*np.moveaxis(_true_values(measured, resampled - measured, seed=seed), 2, 0))
    return RankAgreement(value, float(np.median(draws)), percentile_interval(draws, level=level))


def _true_values(measured: Array, noise: Array, *, seed: int) -> Array:
    """Return draws of the true values, [R, n, 2], on the scale of standard deviations."""
    n_draws, n = noise.shape[:2]
    deviations = measured.std(axis=0, ddof=1)
    centred = (measured - measured.mean(axis=0)) / deviations
    noise = (noise - noise.mean(axis=1, keepdims=True)) / deviations
    errors = np.einsum("rui,ruj->uij", noise, noise) / n_draws
    generator = np.random.Generator(np.random.PCG64(seed))
    covariance = centred.T @ centred / (n - 1)
    roots = _drawn_roots(covariance, errors.mean(axis=0), degrees=n - 1, draws=generator.random((n_draws,)))
    true = roots @ roots.transpose(0, 2, 1)
    prior = generator.standard_normal((n_draws, n, 2)) @ roots.transpose(0, 2, 1)
    gains = true[:, None] @ _inverse(true[:, None] + errors + RIDGE * np.eye(2))
    return np.asarray(prior + np.einsum("ruij,ruj->rui", gains, centred - prior - noise))


def _drawn_roots(covariance: Array, errors: Array, *, degrees: int, draws: Array) -> Array:
    """Return triangular roots of true covariances drawn from their posterior distribution, [R, 2, 2].

    Args:
        covariance: S.
        errors: E.
        degrees: n - 1.
        draws: [R], uniform.
    """
    deviations = (np.arange(N_DEVIATIONS) + 0.5) * (LARGEST_DEVIATION / N_DEVIATIONS)
    angles = np.pi * (np.arange(N_CORRELATIONS) + 0.5 - N_CORRELATIONS / 2) / N_CORRELATIONS
    first, second, angle = (grid.ravel() for grid in np.meshgrid(deviations, deviations, angles, indexing="ij"))
    a, d = first**2 + errors[0, 0], second**2 + errors[1, 1]
    b = first * second * np.sin(angle) + errors[0, 1]
    determinant = a * d - b * b
    trace = (d * covariance[0, 0] - 2 * b * covariance[0, 1] + a * covariance[1, 1]) / determinant
    log_posterior = -degrees / 2 * (np.log(determinant) + trace)
    cumulative = np.cumsum(np.exp(log_posterior - log_posterior.max()))
    chosen = np.searchsorted(cumulative, draws * cumulative[-1], side="right")
    roots = np.zeros((len(draws), 2, 2))
    roots[:, 0, 0] = first[chosen]
    roots[:, 1, 0] = second[chosen] * np.sin(angle[chosen])
    roots[:, 1, 1] = second[chosen] * np.cos(angle[chosen])
    return roots


def _inverse(matrices: Array) -> Array:
    """Return the inverses of [..., 2, 2] matrices."""
    (a, b), (c, d) = np.moveaxis(matrices, (-2, -1), (0, 1))
    adjugate = np.stack([np.stack([d, -b], axis=-1), np.stack([-c, a], axis=-1)], axis=-2)
    return np.asarray(adjugate / (a * d - b * c)[..., None, None])
