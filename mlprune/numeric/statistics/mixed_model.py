"""Logistic mixed model of right answers, with crossed random intercepts: a check of paired tests.

    logit P(right) = fixed effects + b_factor1[level] + b_factor2[level] + ...,   b_factor ~ Normal(0, sd_factor^2)

The standard deviations maximise the marginal likelihood by Laplace's approximation, with fixed and random effects
integrated together (as lme4's `glmer` with nAGQ = 0, but restricted: fixed effects are integrated too):

    log L(sd) = log-likelihood(u) - 1/2 u' P u + 1/2 log|P of b| - 1/2 log|A' W A + P|

at the mode u of all effects, with A the design and indicators, W = p (1 - p), and P the precisions: 1 / sd^2 for random
effects and 1/100 for fixed ones, so that a method without any right answer has a finite effect.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse
from scipy.sparse.linalg import SuperLU, splu

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.statistics.clusters import Array
from mlprune.numeric.statistics.interval import Interval

FIXED_PRECISION = 0.01
LOG_DEVIATIONS = (-6.0, 3.0)
"""Bounds of the logarithms of the random effects' standard deviations."""
MOST_STEPS, TOLERANCE = 100, 1e-9
NORMAL_QUANTILE = 1.959963984540054


@dataclass(frozen=True)
class FixedEffect:
    """A fixed effect in log odds, with its 95 % normal interval given the standard deviations."""

    name: str
    value: float
    interval: Interval


@dataclass(frozen=True)
class RandomEffect:
    """Standard deviation of a random intercept, in log odds."""

    name: str
    deviation: float
    n_levels: int


@dataclass(frozen=True)
class MixedModel:
    """A fitted model."""

    fixed: tuple[FixedEffect, ...]
    random: tuple[RandomEffect, ...]
    n: int
    """Number of answers."""


@dataclass(frozen=True)
class _Mode:
    """The mode of all effects for given standard deviations."""

    effects: Array
    log_marginal: float
    hessian: SuperLU


def fit_mixed_logistic(
    right: NDArray[np.bool_], fixed: Mapping[str, Array], factors: Mapping[str, NDArray[np.int64]]
) -> MixedModel:
    """Fit the model.

    Args:
        right: [n], whether each answer is right.
        fixed: name -> [n] column of the design, the intercept included.
        factors: name -> [n] level of each answer, from 0; -1 for an answer without one. A factor with fewer than two
            levels is left out.
    Raises:
        ShapeError: columns of different lengths.
        BadInputError: no random factor has two levels, or all answers are equal.
        PermanentError: the mode is not found.
    """
    n = len(right)
    if any(len(column) != n for column in (*fixed.values(), *factors.values())):
        raise ShapeError("columns of different lengths", expected=n)
    if right.all() or not right.any():
        raise BadInputError("all answers are equal", expected="right and wrong ones", got=f"{int(right.sum())} of {n}")
    sizes = {name: int(codes.max(initial=-1)) + 1 for name, codes in factors.items()}
    used = {name: size for name, size in sizes.items() if size > 1}
    if not used:
        raise BadInputError("no random factor has two levels", expected="items or languages", got=sizes)
    blocks = [sparse.csr_matrix(np.stack(list(fixed.values()), axis=1))]
    blocks += [_indicators(factors[name], size) for name, size in used.items()]
    design = sparse.hstack(blocks).tocsr()
    deviations, mode = _fit(design, right.astype(np.float64), len(fixed), list(used.values()))
    unit = np.eye(design.shape[1], len(fixed))
    errors = np.sqrt(np.diagonal(mode.hessian.solve(unit)[: len(fixed)]))
    return MixedModel(
        fixed=tuple(
            FixedEffect(name, value, Interval(value - NORMAL_QUANTILE * error, value + NORMAL_QUANTILE * error))
            for name, value, error in zip(fixed, mode.effects.tolist(), errors.tolist(), strict=False)
        ),
        random=tuple(
            RandomEffect(name, deviation, size)
            for (name, size), deviation in zip(used.items(), deviations.tolist(), strict=True)
        ),
        n=n,
    )


def _fit(design: sparse.csr_matrix, right: Array, n_fixed: int, sizes: list[int]) -> tuple[Array, _Mode]:
    """Return the standard deviations with the largest marginal likelihood, and the mode of the effects."""
    start = np.zeros(design.shape[1])

    def mode_of(logs: Array) -> _Mode:
        precisions = np.concatenate([np.full(n_fixed, FIXED_PRECISION), np.repeat(np.exp(-2 * logs), sizes)])
        return _mode(design, right, precisions, start)

    def loss(logs: Array) -> float:
        mode = mode_of(logs)
        start[:] = mode.effects
        return float(np.dot(sizes, logs)) - mode.log_marginal

    result = optimize.minimize(
        loss, np.full(len(sizes), math.log(0.5)), method="L-BFGS-B", bounds=[LOG_DEVIATIONS] * len(sizes)
    )
    return np.exp(result.x), mode_of(result.x)


def _mode(design: sparse.csr_matrix, right: Array, precisions: Array, start: Array) -> _Mode:
    """Maximise the penalised log-likelihood by Newton's method with halved steps.

    Raises:
        PermanentError: it does not converge.
    """
    effects, value = start.copy(), _penalised(design, right, precisions, start)
    for _ in range(MOST_STEPS):
        chances = 1 / (1 + np.exp(-(design @ effects)))
        weighted = design.multiply((chances * (1 - chances))[:, None])
        hessian = splu((design.T @ weighted + sparse.diags(precisions)).tocsc(), permc_spec="MMD_AT_PLUS_A")
        step = hessian.solve(design.T @ (right - chances) - precisions * effects)
        if float(np.abs(step).max()) < TOLERANCE:
            log_determinant = float(np.log(np.abs(hessian.U.diagonal())).sum())
            return _Mode(effects, value - log_determinant / 2, hessian)
        while (better := _penalised(design, right, precisions, effects + step)) < value - TOLERANCE * abs(value):
            step = step / 2
        effects, value = effects + step, better
    raise PermanentError("the mode of a mixed model is not found", expected=f"at most {MOST_STEPS} steps")


def _penalised(design: sparse.csr_matrix, right: Array, precisions: Array, effects: Array) -> float:
    odds = design @ effects
    log_likelihood = float((right * odds - np.logaddexp(0, odds)).sum())
    return log_likelihood - float((precisions * effects**2).sum()) / 2


def _indicators(codes: NDArray[np.int64], n_levels: int) -> sparse.csr_matrix:
    """[n, levels] 1 at each answer's level."""
    rows = np.flatnonzero(codes >= 0)
    return sparse.csr_matrix((np.ones(len(rows)), (rows, codes[rows])), shape=(len(codes), n_levels))
