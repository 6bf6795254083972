"""Test of the difference between two minima over languages, and its interval.

The lowest of several estimates is too low on average, by more if more languages are near the minimum. Resamples and
exchanges of the models carry this bias over; a test of differences between single languages has none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.cluster_score import FEW_CHANGED_CLUSTERS, score_interval
from mlprune.numeric.statistics.clusters import Interval, check_level, exact_products, exactly_summable
from mlprune.numeric.statistics.sign_flips import NARROW_LEVEL, SignFlipResult, plain_end, widened_end
from mlprune.numeric.statistics.subset_sums import TOLERANCE

SHARE_OF_EXCLUSION = 0.1
"""Share of a test's level that is spent on the question which languages can be the lowest."""
DECIMALS = 12
"""Decimals of p-values, levels and numbers of sign vectors: (1 - 0.95) / 2 is more than 0.025 without rounding."""


@dataclass(frozen=True)
class LanguageShares:
    """What each cluster adds to the value of each language."""

    contributions: Array
    """a, [C, L]; the sum over clusters is the language's value."""
    sizes: Array
    """w, [C, L], share of the language's items; the sum over clusters is 1."""

    @cached_property
    def values(self) -> Array:
        """[L]."""
        return np.asarray(self.contributions.sum(axis=0))

    @cached_property
    def residuals(self) -> Array:
        """a - value * w, [C, L]: the sum over clusters is 0."""
        return self.contributions - self.values * self.sizes


@dataclass(frozen=True)
class _Side:
    """The languages of one model with their sums under each sign vector."""

    shares: LanguageShares
    flipped: Array
    """[K - 1, L] sums of residuals; the observed signs are left out."""

    def only(self, indices: Sequence[int]) -> "_Side":
        """Return some of the languages."""
        part = LanguageShares(self.shares.contributions[:, indices], self.shares.sizes[:, indices])
        return _Side(part, self.flipped[:, indices])


@dataclass(frozen=True)
class _AboveMinimum:
    """One language compared with the minimum of the other model, whose languages may be the lowest or not."""

    differences: Array
    """[M] value of the language minus the values of the others, in the order of exclusion."""
    errors: Array
    """[M] root of the sum of squared residuals of the differences."""
    squared_sizes: Array
    """[M] sum over clusters of w^2."""
    largest: Array
    """[K - 1, M] column j: largest studentised sum under sign flips over the languages that are left after j of them
    are excluded."""
    exclusions: Array
    """[M] smallest level of the test at which j languages are excluded, ascending from 0."""

    def p_value(self) -> float:
        """Return the one-sided p-value of the hypothesis that the language is not above the minimum."""
        spreads = np.sqrt(self.errors**2 + self.differences**2 * self.squared_sizes)
        statistics = np.divide(self.differences, spreads, out=np.zeros_like(spreads), where=spreads > 0)
        observed = np.maximum.accumulate(statistics[::-1])[::-1]
        counts = 1.0 + (self.largest > observed + TOLERANCE).sum(axis=0)
        counts += 0.5 * (np.abs(self.largest - observed) <= TOLERANCE).sum(axis=0)
        p_values = counts / (len(self.largest) + 1) / (1 - SHARE_OF_EXCLUSION)
        return min(1.0, round(float(np.maximum(p_values, self.exclusions).min()), DECIMALS))

    def lower_ends(self, level: float) -> Array:
        """Return the smallest accepted excess over each of the other languages, [M]; -inf if all are accepted."""
        ends = np.full(len(self.differences), -np.inf)
        accepted = round((1 - SHARE_OF_EXCLUSION) * level * (len(self.largest) + 1), DECIMALS)
        n_beyond = math.ceil(accepted - 1) - 1
        if n_beyond < 0:
            return ends
        for n_excluded in range(int((self.exclusions.round(DECIMALS) < level).sum())):
            column = self.largest[:, n_excluded]
            limit = float(np.partition(column, len(column) - 1 - n_beyond)[len(column) - 1 - n_beyond])
            room = 1 - limit**2 * self.squared_sizes[n_excluded:]
            scale = np.divide(limit, np.sqrt(np.maximum(room, 0)), out=np.full_like(room, np.inf), where=room > 0)
            errors = self.errors[n_excluded:]
            distances = np.multiply(scale, errors, out=np.zeros_like(errors), where=errors > 0)
            ends[n_excluded:] = np.maximum(ends[n_excluded:], self.differences[n_excluded:] - distances)
        return ends


def minima_test(
    first: LanguageShares,
    second: LanguageShares,
    flips: NDArray[np.int8],
    *,
    level: float = 0.95,
    bound: float | None = None,
) -> SignFlipResult:
    """Test min_l v_l - min_k d_k, the difference of two minima over languages, against 0, and invert the test.

    The difference is at most x exactly if some language l of the first model has v_l - d_k <= x for all languages k of
    the second. So the hypothesis is a union over l of intersections over k: it is rejected if the intersection is for
    every l (Berger, Technometrics 24, 1982). Its p-value is the largest one over l, and that of an intersection is
    max-T over k with sign flips of clusters:

    t_lk(x) = (v_l - d_k - x) / sqrt(sum_c r_clk^2 + (v_l - d_k - x)^2 * sum_c w_clk^2)
    z_lk(s) = sum_c s_c * r_clk / sqrt(sum_c r_clk^2),   r_clk = (a_cl - v_l * w_cl) - (b_ck - d_k * w'_ck)
    p_l(x)  = (1 + number of sign vectors s with max_k z_lk(s) > max_k t_lk(x), ties count half) / K

    Here a and b are the contributions of the clusters, w and w' their sizes and w_clk the mean of w_cl and w'_ck. The
    observed signs are not among the s; they count as the 1. r without variation has z = 0.

    Languages k that cannot be the lowest one of the second model are left out (Berger and Boos, JASA 89, 1994). The
    p-value e_k of "d_k is not above the minimum of d" is that of the same test without this step, with d_k in the place
    of v_l. A test at level alpha rejects if p_l < 0.9 * alpha after the j languages of smallest e are left out, for
    some j with e_(j) < alpha / 10. Thus

    p_l = min over j of max(10 * e_(j), p_l(without the j languages of smallest e) / 0.9),   e_(0) = 0.

    The second model's minimum is tested against the first's in the same way; the p-value is twice the smaller one of
    both, at most 1. The interval has all x that the two tests accept, each at (1 - level) / 2. If a is a 0/1 credit and
    fewer than 30 clusters contribute to v_l - d_k, this pair also accepts the x of `score_interval`, but 0 only if the
    p-value is at least 1 - level.

    Args:
        first: the first model's languages.
        second: the second model's languages; the same clusters.
        flips: [K, C] of `sign_flips`.
        level: coverage, in (0, 1).
        bound: largest possible |a - b| / w of a cluster: 1 for credit. None if it is unlimited.
    Raises:
        BadInputError: the level is out of range.
        PermanentError: a contribution is not finite.
    """
    check_level(level)
    ours, theirs = _side(first, flips), _side(second, flips)
    upwards, downwards = _tests(ours, theirs), _tests(theirs, ours)
    p_gain, p_loss = (max(test.p_value() for test in tests) for tests, _ in (upwards, downwards))
    p_value = min(1.0, 2 * min(p_gain, p_loss))
    sides = ((upwards, (first, second)), (downwards, (second, first)))
    wide, narrow = (
        [
            _lower_end(tests, None if bound is None else _ScoreIntervals(*shares, 1 - 2 * tail, bound), level=tail)
            for tests, shares in sides
        ]
        for tail in (round((1 - one) / 2, DECIMALS) for one in (level, NARROW_LEVEL))
    )
    difference = float(first.values.min() - second.values.min())
    return SignFlipResult(
        difference, p_value, *(Interval(plain_end(low), plain_end(-high)) for low, high in (wide, narrow))
    )


def _side(shares: LanguageShares, flips: NDArray[np.int8]) -> _Side:
    return _Side(shares, exact_products(flips[1:], exactly_summable(shares.residuals, 2 * flips.shape[1])))


def _tests(ours: _Side, theirs: _Side) -> tuple[list[_AboveMinimum], list[int]]:
    """Return the test of each of our languages against the minimum of theirs, and the order of exclusion."""
    n_languages = len(theirs.shares.values)
    exclusions = np.array([_exclusion_p_value(theirs, index) for index in range(n_languages)])
    order = [int(index) for index in np.argsort(exclusions, kind="stable")]
    levels = np.concatenate([[0.0], exclusions[order[:-1]] / SHARE_OF_EXCLUSION])
    ordered = theirs.only(order)
    return [_above_minimum(ours, index, ordered, levels) for index in range(len(ours.shares.values))], order


def _exclusion_p_value(side: _Side, index: int) -> float:
    """Return the p-value of the hypothesis that no language is below this one."""
    others = [other for other in range(len(side.shares.values)) if other != index]
    if not others:
        return 1.0
    never = np.concatenate([[0.0], np.full(len(others) - 1, 1.0)])
    return (1 - SHARE_OF_EXCLUSION) * _above_minimum(side, index, side.only(others), never).p_value()


def _above_minimum(ours: _Side, index: int, theirs: _Side, exclusions: Array) -> _AboveMinimum:
    residuals = ours.shares.residuals[:, [index]] - theirs.shares.residuals
    errors = np.sqrt((residuals**2).sum(axis=0))
    errors[errors <= TOLERANCE * np.abs(residuals).sum(axis=0)] = 0.0
    sizes = (ours.shares.sizes[:, [index]] + theirs.shares.sizes) / 2
    flipped = (ours.flipped[:, [index]] - theirs.flipped) / np.where(errors > 0, errors, np.inf)
    largest = np.maximum.accumulate(flipped[:, ::-1], axis=1)[:, ::-1]
    return _AboveMinimum(
        ours.shares.values[index] - theirs.shares.values,
        errors,
        (sizes**2).sum(axis=0),
        np.asarray(largest),
        exclusions,
    )


def _lower_end(
    tests: tuple[list[_AboveMinimum], list[int]], scores: "_ScoreIntervals | None", *, level: float
) -> float:
    """Return the smallest accepted difference of the minima."""
    ends = []
    for index, test in enumerate(tests[0]):
        lows = test.lower_ends(level)
        low = float(lows.max())
        if scores is not None:
            wide = scores.widened(low, index, tests[1][int(lows.argmax())])
            if wide < low:
                wide = max(scores.widened(float(end), index, other) for end, other in zip(lows, tests[1], strict=True))
            low = max(-scores.bound, widened_end(low, wide))
        ends.append(low)
    return min(ends)


@dataclass(frozen=True)
class _ScoreIntervals:
    """Lower ends of the score intervals of single pairs of languages."""

    ours: LanguageShares
    theirs: LanguageShares
    level: float
    bound: float

    def widened(self, low: float, index: int, other: int) -> float:
        """Return the lower end for two languages, that of the score interval if few clusters contribute."""
        contributions = self.ours.contributions[:, index] - self.theirs.contributions[:, other]
        sizes = (self.ours.sizes[:, index] + self.theirs.sizes[:, other]) / 2
        if np.count_nonzero(contributions) >= FEW_CHANGED_CLUSTERS:
            return low
        kept = sizes > 0
        return min(low, score_interval(contributions[kept], sizes[kept], level=self.level, bound=self.bound).low)
