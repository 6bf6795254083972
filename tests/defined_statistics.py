"""The statistics of docs/definitions.md, written a second time from that page alone, with numpy and scipy.

Nothing of mlprune is imported, so that an error of its arithmetic cannot be an error here too.
"""

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache, reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import betaincinv, ndtr
from scipy.stats import binom, chi2, gamma, norm, t

Array = NDArray[np.float64]
Z = float(norm.ppf(0.975))
RESAMPLES = 1999


def wilson(p: float, n: float) -> tuple[float, float]:
    """Return Wilson's interval with a Poisson end for at most 3 right or wrong items (n can be a fraction)."""
    middle, half = p + Z**2 / (2 * n), Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    low, high = (middle - half) / (1 + Z**2 / n), (middle + half) / (1 + Z**2 / n)
    x, y = p * n, n - p * n
    if 0 < x <= 3:
        low = min(low, gamma.ppf(0.05, x) / n)
    if 0 < y <= 3:
        high = max(high, 1 - gamma.ppf(0.05, y) / n)
    return (0.0 if x == 0 else low), (1.0 if y == 0 else high)


def effective_items(credit: Array, sizes: Array) -> float:
    """Return n_e of cluster sums of credit [C] and cluster sizes [C]."""
    n, n_clusters = sizes.sum(), len(sizes)
    if n_clusters == n:
        return float(n)
    p = credit.sum() / n
    a, k = (sizes**2).sum() / n, n * min(p, 1 - p)
    if n_clusters == 1:
        effect = a
    else:
        residuals = credit - p * sizes
        variance = n**2 * p * (1 - p) / (n - 1)
        d = n_clusters / (n_clusters - 1) * (residuals**2).sum() / variance if variance else 0.0
        effect = (a**2 + 16 * k * max(1, d)) / (a + 16 * k)
    f = max(1, (sizes**2).sum() ** 2 / (sizes**4).sum() - 1)
    return float(n / max(1, effect * (t.ppf(0.975, f) / t.ppf(0.975, n - 1)) ** 2))


def tango_z(gained: int, lost: int, n: int, difference: float) -> float:
    """Return Tango's z of a difference."""
    if difference < 0:
        return -tango_z(lost, gained, n, -difference)
    b_term = (2 * n - gained + lost) * difference - gained - lost
    c_term = -lost * difference * (1 - difference)
    q = (np.sqrt(b_term**2 - 8 * n * c_term) - b_term) / (4 * n)
    above, variance = gained - lost - n * difference, n * (2 * q + difference * (1 - difference))
    return 0.0 if above == 0 else float(above / np.sqrt(variance)) if variance > 0 else float(np.inf * above)


def tango(gained: int, lost: int, n: int, coverage: float) -> tuple[float, float]:
    """Return Tango's interval, with the binomial end on the side of fewer changes."""
    z = norm.ppf((1 + coverage) / 2)
    low, high = -_tango_end(lost, gained, n, z), _tango_end(gained, lost, n, z)
    if lost >= gained:
        low = min(
            low, -betaincinv(lost - gained + 1, n - lost + gained, (1 + coverage) / 2) if lost - gained < n else -1
        )
    if gained >= lost:
        high = max(
            high, betaincinv(gained - lost + 1, n - gained + lost, (1 + coverage) / 2) if gained - lost < n else 1
        )
    return float(low), float(high)


def _tango_end(gained: int, lost: int, n: int, z: float) -> float:
    """Return the largest difference with z(D) >= -z."""
    is_above = tango_z(gained, lost, n, 0.0) >= -z
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        accepted = tango_z(gained, lost, n, middle if is_above else -middle) >= -z
        low, high = (middle, high) if accepted == is_above else (low, middle)
    return (low + high) / 2 if is_above else -(low + high) / 2


def mid_mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided mid-p value."""
    k, n = min(gained, lost), gained + lost
    return float(binom.cdf(k - 1, n, 0.5) + binom.cdf(k, n, 0.5)) if n else 1.0


@cache
def sign_vectors(n_clusters: int) -> Array:
    """Return the signs [K, C]; row 0 is +1."""
    if n_clusters <= 13:
        return np.array([[1.0 - 2 * (k >> c & 1) for c in range(n_clusters)] for k in range(2**n_clusters)])
    drawn = np.random.Generator(np.random.PCG64(0)).integers(0, 2, size=(9999, n_clusters), dtype=np.int8)
    return np.vstack([np.ones((1, n_clusters)), 1.0 - 2.0 * drawn])


@cache
def resamples(n_clusters: int) -> Array:
    """Return how often each resample has each cluster, [R, C]."""
    drawn = np.random.Generator(np.random.PCG64(0)).integers(0, n_clusters, size=(RESAMPLES, n_clusters))
    return np.stack([np.bincount(row, minlength=n_clusters) for row in drawn]).astype(np.float64)


def rounded(column: Array) -> Array:
    """Round cluster sums to multiples whose sums are exact."""
    if not column.any():
        return column
    unit = 2.0 ** (np.frexp(np.abs(column).max())[1] + int(np.ceil(np.log2(len(column)))) - 53)
    return np.asarray(np.rint(column / unit) * unit)


def sign_flip_p(differences: Array) -> float:
    """Return the two-sided p-value of contributions [C]: of the stated sign vectors, below 0.01 of all."""
    d, n_clusters = rounded(differences), len(differences)
    total, tolerance = d.sum(), 1e-9 * np.abs(d).sum()
    if abs(total) <= tolerance:
        return 1.0
    signs = sign_vectors(n_clusters)[1:]
    minus = (signs < 0) @ d
    plus = total - minus
    is_equal = (np.abs(minus) <= tolerance) | (np.abs(plus) <= tolerance)
    p = (1 + np.where(is_equal, 0.5, np.abs(plus - minus) > abs(total)).sum()) / (len(signs) + 1)
    if p >= 0.01 or n_clusters <= 13:
        return float(p)
    return max(min(all_signs_p(d), 0.02), 2.2e-308, 1.5 / 2.0**n_clusters)


def all_signs_p(d: Array) -> float:
    """Return the p-value of all 2^C sign vectors; an upper bound if contributions are not multiples of a unit."""
    n_clusters, total = len(d), np.abs(d).sum()
    a = np.sort(np.abs(d))
    a = a[a > 1e-9 * total / n_clusters]
    b = (a.sum() - abs(d.sum())) / 2
    for unit in (a[0] / k for k in range(1, 61)):
        multiples = np.rint(a / unit)
        if np.all(np.abs(a - multiples * unit) <= 1e-9 * a) and b / unit <= min(2**20, 2**27 / n_clusters):
            return _exact_p([int(k) for k in multiples], round(b / unit), n_clusters)
    assert n_clusters <= 2000, "the formula above 2,000 clusters is not needed here"
    b += 1e-9 * a.sum()
    inside = a[a <= b]
    n_above, n_inside = len(a) - len(inside), len(inside)
    h = b / min(max(256 * n_inside, 2**12), 2**16)
    multiples = np.rint(inside / h).astype(int)
    errors = inside - multiples * h
    cumulative = _subset_sums(multiples).cumsum()
    eta = 0.001 * cumulative[_cell(b / h, cumulative)]
    likely = errors.sum() / 2 - np.sqrt((errors**2).sum() * np.log(1 / eta) / 2)
    least = max(np.minimum(errors, 0).sum(), likely)
    at_most = cumulative[_cell((b - least) / h, cumulative)]
    return float(2 * 0.5**n_above * (at_most + eta) - 0.5 ** len(a) + 0.5**n_clusters / 2)


def _cell(cells: float, cumulative: Array) -> int:
    return min(int(np.floor(cells + 1e-9)), len(cumulative) - 1)


def _subset_sums(multiples: NDArray[np.int64]) -> Array:
    """Return the probabilities of the sums of a random subset, from 0 on."""
    sums = np.ones(1)
    for k in multiples:
        longer = np.zeros(len(sums) + k)
        longer[: len(sums)] += sums / 2
        longer[k:] += sums / 2
        sums = longer
    return sums


def _exact_p(multiples: Sequence[int], b: int, n_clusters: int) -> float:
    """Count subsets by their sums, in integers of any size."""
    counts = Counter({0: 1})
    for k in multiples:
        with_k = {total + k: count for total, count in counts.items() if total + k <= b}
        counts.update(with_k)
    below = sum(count for total, count in counts.items() if total < b)
    n_subsets = 2 ** len(multiples)
    return float(2 * (below / n_subsets) + counts[b] / n_subsets + 0.5**n_clusters / 2)


def ratio_error(d: Array, m: Array) -> float | None:
    """Return the standard error of sum d / sum m over clusters."""
    n_clusters = len(d)
    if n_clusters == 1:
        return None
    return float(np.sqrt(n_clusters / (n_clusters - 1) * ((d - d.sum() / m.sum() * m) ** 2).sum()) / m.sum())


def log_interval(losses: Array, tokens: Array) -> tuple[float, float]:
    """Return the interval of a ratio of losses to tokens: bootstrap-t, below ten clusters Student's t."""
    n_clusters, value, error = len(losses), losses.sum() / tokens.sum(), ratio_error(losses, tokens)
    assert error is not None
    if n_clusters < 10:
        half = t.ppf(0.975, n_clusters - 1) * error
        return value - half, value + half
    counts = resamples(n_clusters)
    totals = counts @ tokens
    values = counts @ losses / totals
    squares = (counts * (losses - values[:, None] * tokens) ** 2).sum(axis=1)
    errors = np.sqrt(n_clusters / (n_clusters - 1) * squares) / totals
    kept = errors > 1e-9 * np.abs(values)
    low, high = np.quantile((values[kept] - value) / errors[kept], [0.025, 0.975])
    return value - high * error, value - low * error


def flip_interval(differences: Array, m: Array, level: float) -> tuple[float, float]:
    """Return the ends of {x: p(x) >= level} of sign flips, without a score interval."""
    d, m = rounded(differences), rounded(m)
    signs = sign_vectors(len(d))[1:]
    tolerance = 1e-9 * np.abs(d).sum()
    minus, minus_m = (signs < 0) @ d, (signs < 0) @ m
    plus, plus_m = d.sum() - minus, m.sum() - minus_m
    is_full = (minus_m > 0) & (plus_m > 0)
    always = 1 + 0.5 * (~is_full).sum()
    sides = [
        np.where(np.abs(part) <= tolerance, 0.0, part)[is_full] / size[is_full]
        for part, size in ((minus, minus_m), (plus, plus_m))
    ]
    points = np.sort(np.concatenate(sides))
    new = np.concatenate([[True], np.diff(points) > 1e-12])
    points = points[new]
    lows, highs = (np.searchsorted(points, side(*sides), side="right") - 1 for side in (np.minimum, np.maximum))
    wide = lows < highs
    starts, ends = (np.bincount(of[wide], minlength=len(points)) for of in (lows, highs))
    n_rows = len(signs) + 1
    after = (always + (starts - ends).cumsum()) / n_rows
    before = np.concatenate([[always / n_rows], after[:-1]])
    single = np.bincount(lows[~wide], minlength=len(points))
    at = (before + after) / 2 + single / 2 / n_rows
    accepted = np.flatnonzero((at >= level) | (after >= level))
    accepted_below = np.flatnonzero((at >= level) | (before >= level))
    return float(points[accepted[0]]), float(points[accepted_below[-1]])


def sign_flip_interval(d: Array, m: Array, *, coverage: float, has_score: bool) -> tuple[float, float]:
    """Return the interval of a difference by sign flips, with the score interval if fewer than 30 clusters changed."""
    low, high = flip_interval(d, m, round(1 - coverage, 9))
    if not has_score or min((d != 0).sum(), (d != m).sum(), (d != -m).sum()) >= 30:
        return low, high
    is_excluded = sign_flip_p(d) < round(1 - coverage, 9)
    score_low, score_high = score_interval(d, m, coverage)
    if is_excluded:
        score_low, score_high = (max(score_low, 0.0), score_high) if d.sum() > 0 else (score_low, min(score_high, 0.0))
    return min(low, score_low), max(high, score_high)


def margin_p(d: Array, m: Array, margin: float) -> float:
    """Return the one-sided p-value of "worse by at least the margin", from contributions."""
    half = sign_flip_p(d + margin * m) / 2
    p = half if d.sum() / m.sum() > -margin else 1 - half
    if min((d != 0).sum(), (d != m).sum(), (d != -m).sum()) >= 30 or np.any(np.abs(d) > m):
        return p
    low, high = 0.0, 8.0
    for _ in range(30):
        middle = (low + high) / 2
        begins_above = score_interval(d, m, 1 - 2 * norm.sf(middle))[0] > -margin
        low, high = (middle, high) if begins_above else (low, middle)
    half = sign_flip_p(d) / 2
    return max(p, min(float(norm.sf(low)), half if d.sum() > 0 else 1 - half))


def score_interval(d: Array, m: Array, coverage: float) -> tuple[float, float]:
    """Return the score interval of few changed clusters, with the binomial end if clusters change as a whole."""
    z, value = norm.ppf((1 + coverage) / 2), d.sum() / m.sum()
    low, high = (_score_end(d, m, z, value, limit) for limit in (-1.0, 1.0))
    if np.all((d == 0) | (np.abs(d) == m)):
        size = (m**2).sum() / m.sum()
        n, gained = m.sum() / size, d.sum() / size
        if gained <= 0:
            low = min(low, -1.0 if gained <= -n else -betaincinv(1 - gained, n + gained, (1 + coverage) / 2))
        if gained >= 0:
            high = max(high, 1.0 if gained >= n else betaincinv(1 + gained, n - gained, (1 + coverage) / 2))
    return float(low), float(high)


def _score_end(d: Array, m: Array, z: float, value: float, limit: float) -> float:
    start, end = value, limit
    for _ in range(6):
        grid = np.linspace(start, end, 65)
        rejected = _score(d, m, grid) > z**2
        if not rejected[1:].any():
            return float(end)
        first = 1 + int(np.argmax(rejected[1:]))
        start, end = grid[first - 1], grid[first]
    return float(end)


def _score(d: Array, m: Array, differences: Array) -> Array:
    """Return (sum e)^2 / (C V) for differences x, [grid]."""
    x = differences[:, None]
    e = d - x * m
    typical = (m**2).sum() / m.sum()
    u = (typical**2 + (d**2).sum()) / (typical + np.abs(d).sum())
    every = np.concatenate([e, (-1 - x) * u, (1 - x) * u], axis=1)
    largest, smallest = every.max(axis=1), every.min(axis=1)
    with np.errstate(divide="ignore"):
        low, high = np.where(largest > 0, -1 / largest, 0.0), np.where(smallest < 0, -1 / smallest, 0.0)
    for _ in range(40):
        middle = (low + high) / 2
        rises = (e / (1 + middle[:, None] * e)).sum(axis=1) > 0
        low, high = np.where(rises, middle, low), np.where(rises, high, middle)
    chances = 1 / (len(d) * (1 + (low + high)[:, None] / 2 * e))
    extreme = np.where(low + high > 0, (-1 - differences) * u, (1 - differences) * u)
    variance = (chances * e**2).sum(axis=1) + (1 - chances.sum(axis=1)) * extreme**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.nan_to_num(e.sum(axis=1) ** 2 / (len(d) * variance)))


def unpaired_interval(pairs: Sequence[Sequence[Sequence[float]]], tail: float) -> tuple[float, float]:
    """Return the mean and the half width of values of pairs of seeds of variant and baseline, [S][T][C]."""
    n_seeds, n_baselines, n_clusters = len(pairs), len(pairs[0]), len(pairs[0][0])
    clusters = range(n_clusters)
    by_seed = [[sum(pair[c] for pair in row) / n_baselines for c in clusters] for row in pairs]
    by_baseline = [[sum(row[j][c] for row in pairs) / n_seeds for c in clusters] for j in range(n_baselines)]
    of_items = [sum(row[c] for row in by_seed) / n_seeds for c in clusters]
    mean = sum(of_items) / n_clusters
    of_mean = sum((value - mean) ** 2 for value in of_items) / (n_clusters - 1) / n_clusters
    squared, of_rest = 0.0, 0.0
    for rows in (by_seed, by_baseline):
        n = len(rows)
        means = [sum(row) / n_clusters for row in rows]
        squared += t.isf(tail, n - 1) ** 2 * sum((value - mean) ** 2 for value in means) / (n - 1) / n
        rest = [row[c] - own - of_items[c] + mean for row, own in zip(rows, means, strict=True) for c in clusters]
        of_rest += sum(value**2 for value in rest) / ((n - 1) * (n_clusters - 1)) / (n * n_clusters)
    t_items = t.isf(tail, n_clusters - 1) ** 2
    return mean, math.sqrt(max(squared + t_items * max(0.0, of_mean - of_rest), t_items * of_mean))


def holm(p_values: ArrayLike) -> Array:
    """Return Holm's corrected p-values, in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    return np.array([min(1, max((len(p) - (p < q).sum()) * q for q in p[p <= own])) for own in p])


def benjamini_hochberg(p_values: ArrayLike) -> Array:
    """Return q-values, in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    return np.array([min([1.0, *(len(p) * q / (p <= q).sum() for q in p[p >= own])]) for own in p])


def graphical(questions: Sequence[Array]) -> list[Array]:
    """Return corrected p-values of the primary questions of a recipe, from those corrected within each question.

    A question whose tests are all rejected at 0.05 / Q passes its level on in equal parts (Bretz et al. 2009).
    """
    n = len(questions)
    largest = sorted(float(p.max()) for p in questions)
    a = [max([0.0, *((n - r) * largest[r] for r in range(k))]) for k in range(n)]
    return [np.minimum(1, [min(max(a[k], (n - k) * p) for k in range(n)) for p in own]) for own in questions]


def bca(value: float, resampled: Array, left_out: Array) -> tuple[float, float]:
    """Return Efron's interval of a value, its resamples [R] and its values without each cluster [C], not cut."""
    tolerance = max(1e-9 * max(np.abs(resampled).max(), abs(value)), 1e-12)
    is_equal = np.abs(resampled - value) <= tolerance
    below = np.where(is_equal, 0.5, resampled < value).mean()
    z0 = norm.ppf(np.clip(below, 1 / (2 * len(resampled)), 1 - 1 / (2 * len(resampled))))
    u = left_out.mean() - left_out
    u = np.where(np.abs(u) <= tolerance, 0.0, u)
    a = (u**3).sum() / (6 * (u**2).sum() ** 1.5) if u.any() else 0.0
    w = z0 + np.array([-Z, Z])
    low, high = np.quantile(resampled, norm.cdf(z0 + w / (1 - a * w)))
    return min(float(low), value), max(float(high), value)


def at_least(chances: Sequence[float], n_right: int) -> float:
    """Return P(S >= n_right) of a sum of independent Bernoulli variables."""
    distribution = np.ones(1)
    for chance in chances:
        distribution = np.convolve(distribution, [1 - chance, chance])
    return float(distribution[n_right:].sum())


def one_sided_flip_p(above: Array) -> float:
    """Return the share of sign vectors whose sum is at least the observed one."""
    sums = sign_vectors(len(above)) @ rounded(above)
    return float((sums >= sums[0] - 1e-9 * np.abs(above).sum()).mean())


def two_sided(z: float) -> float:
    """Return the two-sided p-value of a normal variable."""
    return max(float(2 * norm.sf(abs(z))), 2.2e-308)


def pooled_languages(differences: Array, errors: Array, correlations: Array) -> dict[str, Any]:
    """Return the columns of the model over languages; those of a language are lists, [L].

    Args:
        differences: y, [L].
        errors: e, [L].
        correlations: r, [L, L].
    """
    n, ones = len(differences), np.ones(len(differences))
    v = np.array([[errors[i] * errors[j] * correlations[i, j] for j in range(n)] for i in range(n)])
    s = math.sqrt(n / sum(1 / error**2 for error in errors))
    logs, parts, taus = [], [], []
    for k in range(1, 201):
        u = (k - 0.5) / 200
        tau = s * u / (1 - u)
        w = np.linalg.inv(v + tau**2 * np.eye(n))
        total = ones @ w @ ones
        mu = ones @ w @ differences / total
        above = differences - mu
        logs.append(-(math.log(np.linalg.det(v + tau**2 * np.eye(n))) + math.log(total) + above @ w @ above) / 2)
        covariance = v - v @ w @ v + np.outer(v @ w @ ones, v @ w @ ones) / total
        means = [*(differences - v @ w @ above), mu, mu]
        variances = [*np.diag(covariance), 1 / total, 1 / total + tau**2]
        parts.append((means, variances))
        taus.append(tau)
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()

    def end(column: int, share: float) -> float:
        """Return a quantile of the mixture of the 200 normal distributions of a column."""

        means, errors = np.array([(of[0][column], math.sqrt(of[1][column])) for of in parts]).T

        def above(x: float) -> float:
            return float(weights @ ndtr((x - means) / errors)) - share

        reach = 50 * max(errors) + 50 * max(abs(differences))
        return float(brentq(above, -reach, reach, xtol=1e-14))

    def deviation(share: float) -> float:
        """Return a quantile of tau: u is uniform within each of the 200 cells."""
        passed = 0.0
        for k, weight in enumerate(weights):
            if passed + weight >= share:
                u = (k + (share - passed) / weight) / 200
                return s * u / (1 - u)
            passed += weight
        raise AssertionError

    found: dict[str, Any] = {
        "pooled": [sum(weight * of[0][i] for weight, of in zip(weights, parts, strict=True)) for i in range(n)],
        "mean": sum(weight * of[0][n] for weight, of in zip(weights, parts, strict=True)),
        "deviation": deviation(0.5),
    }
    for name, share in (("low", 0.025), ("high", 0.975)):
        found[f"pooled_ci_{name}"] = [end(i, share) for i in range(n)]
        found |= {f"mean_ci_{name}": end(n, share), f"new_language_ci_{name}": end(n + 1, share)}
        found[f"deviation_ci_{name}"] = deviation(share)
    return found


def power_of_mean(
    difference: float, parts: Sequence[float], degrees: Sequence[int], *, claim: str, n_family: int
) -> float:
    """Return the power of a test of a mean over seeds, by midpoints of the probabilities of each chi-square.

    Args:
        difference: true difference of a gain; the margin, with a true difference of 0.
        parts: squared parts of the error.
        degrees: degrees of freedom of their estimates.
    """
    tail = 0.05 / n_family / (2 if claim == "gain" else 1)
    squares = [part * t.isf(tail, n) ** 2 / n for part, n in zip(parts, degrees, strict=True)]
    n_places = 400 if len(parts) < 3 else 50
    places = (np.arange(n_places) + 0.5) / n_places
    drawn = [square * chi2.isf(places, n) for square, n in zip(squares, degrees, strict=True)]
    half_widths = np.sqrt(reduce(np.add.outer, drawn))
    error = math.sqrt(sum(parts))
    above, opposite = norm.cdf((difference - half_widths) / error), norm.cdf((-difference - half_widths) / error)
    power = {"gain": above + opposite, "noninferior": above, "equivalent": np.maximum(0, 2 * above - 1)}
    return float(power[claim].mean())
