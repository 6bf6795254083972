"""Measure the coverage of the intervals and the level of the tests of right and wrong answers.

python tests/benchmarks/binary_coverage.py

Independent items: exact sums over all outcomes. Clustered items: simulations. The table has the average and the worst
value of each row in percent, where the worst value was found, and the limits that the worst value and the average keep.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special

sys.path.insert(0, str(Path(__file__).parents[2]))

from mlprune.numeric.statistics.paired_proportions import (
    equivalence_interval,
    mcnemar_exact_p_values,
    mcnemar_mid_p_values,
    noninferiority_p_value,
    tango_interval,
    tango_p_values,
)
from mlprune.numeric.statistics.power import detectable_difference_of_items
from mlprune.numeric.statistics.proportions import (
    chance_p_value,
    design_effect,
    effective_size,
    poisson_binomial,
    wilson_intervals,
)

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

LEAST_COVERAGE, AVERAGE_COVERAGE = 90.0, (93.0, 97.0)
GREATEST_LEVEL, LEAST_LEVEL, ENOUGH_PAIRS = 6.0, 4.0, 25
PAIRS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 25, 30, 40, 60, 75, 100, 140)
"""Expected numbers of discordant pairs."""
NEAR_ZERO = (0.0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05)
CORRELATIONS = (0.0, 0.3, 0.9)
CLUSTERS = {
    "115 territories": np.repeat(np.arange(115), [1] * 87 + [2] * 22 + [3] * 5 + [4]),
    "50 premises": np.repeat(np.arange(50), 3),
    "30 passages": np.repeat(np.arange(30), 5),
}
"""150 items each, as in the tasks facts, XNLI and Belebele."""


@dataclass(frozen=True)
class Row:
    """Coverage or level, in percent, under several conditions."""

    name: str
    items: str
    average: float
    worst: float
    where: str
    is_met: bool


def coverage_row(name: str, items: str, values: dict[str, float], *, level: float = 0.95) -> Row:
    """Summarise coverages of an interval; the limits are as far from its level as those of 95 %."""
    where = min(values, key=values.__getitem__)
    average, worst = 100 * float(np.mean(list(values.values()))), 100 * values[where]
    below = 95 - 100 * level
    is_met = worst >= LEAST_COVERAGE - below and AVERAGE_COVERAGE[0] - below <= average
    return Row(name, items, average, worst, where, is_met)


def level_row(name: str, items: str, values: dict[str, float]) -> Row:
    """Summarise levels of a test at 5 %."""
    where = max(values, key=values.__getitem__)
    average, worst = 100 * float(np.mean(list(values.values()))), 100 * values[where]
    return Row(name, items, average, worst, where, worst <= GREATEST_LEVEL)


def outcomes(n: int) -> tuple[Array, Array]:
    """Return the numbers of gained and of lost items of all outcomes of n pairs."""
    gained, lost = np.meshgrid(np.arange(n + 1.0), np.arange(n + 1.0), indexing="ij")
    is_possible = gained + lost <= n
    return gained[is_possible], lost[is_possible]


def trinomial(gained: Array, lost: Array, n: int, *, gain: float, loss: float) -> Array:
    """Return the probability of each outcome."""
    same = n - gained - lost
    ways = special.gammaln(n + 1) - sum(special.gammaln(count + 1) for count in (gained, lost, same))
    logs = special.xlogy(gained, gain) + special.xlogy(lost, loss) + special.xlogy(same, max(0.0, 1 - gain - loss))
    return np.asarray(np.exp(ways + logs))


def wilson_rows(n: int) -> Iterator[Row]:
    """Coverage of a proportion: on an even grid, and close to 1."""
    right = np.arange(n + 1.0)
    low, high = wilson_intervals(right, n)
    for name, grid in (
        ("Wilson, p from 0.001 to 0.999", np.linspace(0.001, 0.999, 999)),
        ("Wilson, 0.01 to 5 wrong items expected", 1 - np.geomspace(0.01, 5, 600) / n),
    ):
        covered = {}
        for p in grid.tolist():
            is_covered = (low <= p) & (p <= high)
            covered[f"p = {p:.5f}"] = float(poisson_binomial(np.full(n, p))[is_covered].sum())
        yield coverage_row(name, f"{n}", covered)


def tango_rows(n: int, n_grid: int) -> Iterator[Row]:
    """Coverage of a paired difference over all probabilities of gain and loss, and close to no change."""
    gained, lost = outcomes(n)
    even, few = np.linspace(0, 1, n_grid), np.concatenate([[0], np.geomspace(0.01, 3, n_grid)]) / n
    for level, (name, grid) in product((0.95, 0.90), (("all gains and losses", even), ("at most 6 changes", few))):
        low, high = _ends(n, level)
        covered = {}
        for gain in grid.tolist():
            for loss in grid[grid <= min(gain, 1 - gain) + 1e-12].tolist():
                is_covered = (low <= gain - loss + 1e-12) & (gain - loss - 1e-12 <= high)
                probability = trinomial(gained, lost, n, gain=gain, loss=loss)
                covered[f"gain {gain:.4f}, loss {loss:.4f}"] = float(probability[is_covered].sum())
        yield coverage_row(f"Tango with binomial end, {level:.0%}, {name}", f"{n} pairs", covered, level=level)


@cache
def _ends(n: int, level: float) -> tuple[Array, Array]:
    """Return the low and the high ends of the stored intervals of all outcomes of n pairs."""
    intervals = [equivalence_interval(b, c, n, level=level) for b, c in zip(*outcomes(n), strict=True)]
    return np.array([one.low for one in intervals]), np.array([one.high for one in intervals])


def mcnemar_rows(n: int) -> Iterator[Row]:
    """Level of the tests of no difference by the expected number of discordant pairs."""
    gained, lost = outcomes(n)
    tests = {
        "Tango": tango_p_values(gained, lost, n),
        "mid-p McNemar": mcnemar_mid_p_values(gained, lost),
        "exact McNemar": mcnemar_exact_p_values(gained, lost),
    }
    for name, p_values in tests.items():
        levels = {}
        for pairs in [pairs for pairs in PAIRS if pairs < n]:
            probability = trinomial(gained, lost, n, gain=pairs / n / 2, loss=pairs / n / 2)
            levels[pairs] = float(probability[p_values < 0.05].sum())
        for is_enough in (False, True):
            part = {f"{pairs} pairs": level for pairs, level in levels.items() if (pairs >= ENOUGH_PAIRS) == is_enough}
            if part:
                title = f"{name}, {'at least' if is_enough else 'below'} {ENOUGH_PAIRS} discordant pairs expected"
                row = level_row(title, f"{n} pairs", part)
                is_met = row.is_met and (name != "Tango" or not is_enough or 100 * min(part.values()) >= LEAST_LEVEL)
                yield Row(row.name, row.items, row.average, row.worst, row.where, is_met)


def equivalence_rows(n: int) -> Iterator[Row]:
    """Level of non-inferiority where the true difference is exactly -margin, and of two one-sided tests."""
    gained, lost = outcomes(n)
    low, high = _ends(n, 0.90)
    one_sided, both = {}, {}
    closest = -low[(gained == 0) & (lost < 6)] + 1e-9
    for margin in np.concatenate([[0.002, 0.005, 0.01, 0.015, 0.02, 0.05, 0.1], closest]).tolist():
        for gain in [gain for gain in (*NEAR_ZERO, 0.1, 0.2, 0.4) if 2 * gain + margin <= 1]:
            probability = trinomial(gained, lost, n, gain=gain, loss=gain + margin)
            key = f"margin {margin:.4f}, gain {gain:.4f}"
            one_sided[key] = float(probability[low > -margin].sum())
            both[key] = float(probability[(low > -margin) & (high < margin)].sum())
    yield level_row("non-inferiority, any margin", f"{n} pairs", one_sided)
    least = -float(low[(gained == 0) & (lost == 0)][0])
    testable = {key: level for key, level in one_sided.items() if float(key.split()[1][:-1]) >= least - 1e-4}
    yield level_row(f"non-inferiority, testable margin (above {least:.4f})", f"{n} pairs", testable)
    yield level_row("two one-sided tests, any margin", f"{n} pairs", both)


def chance_rows(n: int) -> Iterator[Row]:
    """Level of the exact test against chance of items that differ in their number of candidates."""
    levels = {}
    for n_candidates in (2, 3, 5, 10):
        chances = np.repeat([1 / n_candidates, 1 / (n_candidates + 1)], [n - n // 2, n // 2])
        tail = np.cumsum(poisson_binomial(chances)[::-1])[::-1]
        levels[f"{n_candidates} and {n_candidates + 1} candidates"] = float(tail[np.argmax(tail < 0.05)])
    yield level_row("above chance, independent items", f"{n}", levels)


def draw(clusters: Codes, correlation: float, *, generator: np.random.Generator) -> Array:
    """Return one uniform number per item, shared with its cluster such that pairs of items correlate."""
    common, own = generator.random(clusters.max() + 1)[clusters], generator.random(len(clusters))
    return np.where(generator.random(len(clusters)) < correlation**0.5, common, own)


def clustered_rows(name: str, clusters: Codes, n_draws: int) -> Iterator[Row]:
    """Coverage and level with correlated items, by simulation."""
    n = len(clusters)
    uniform = {
        correlation: [draw(clusters, correlation, generator=np.random.default_rng(seed)) for seed in range(n_draws)]
        for correlation in CORRELATIONS
    }
    covered, paired, levels, noninferior, lucky = {}, {}, {}, {}, {}
    for correlation, draws in uniform.items():
        share = partial(share_of, draws)
        for p in (0.2, 0.5, 0.8, 0.9, 0.95, 0.97, 0.99):
            covered[f"correlation {correlation}, p {p}"] = share(lambda u, p=p: covers(u < p, clusters, p))
        for gain, loss in ((0.1, 0.1), (0.2, 0.1), (0.03, 0.03), (0.02, 0.0), (0.05, 0.01)):
            key = f"correlation {correlation}, gain {gain}, loss {loss}"
            paired[key] = share(lambda u, g=gain, v=loss: covers_difference(u, clusters, g, v))
        for change in (0.03, 0.1, 0.2):
            key = f"correlation {correlation}, gain and loss {change}"
            levels[key] = 1 - share(lambda u, c=change: covers_difference(u, clusters, c, c))
        for margin, gain in ((0.02, 0.0), (0.035, 0.0), (0.05, 0.0), (0.05, 0.02), (0.1, 0.05)):
            key = f"correlation {correlation}, margin {margin}, gain {gain}"
            noninferior[key] = share(lambda u, m=margin, g=gain: is_noninferior(u, clusters, m, g))
        few = draws[: max(1, n_draws // 4)]
        lucky[f"correlation {correlation}"] = share_of(few, lambda u: is_above_chance(u, clusters))
    yield coverage_row("Wilson with the effective size", f"{n} in {name}", covered)
    yield coverage_row("Tango with effective pairs", f"{n} in {name}", paired)
    yield level_row("Tango with effective pairs, no difference", f"{n} in {name}", levels)
    yield level_row("non-inferiority with effective pairs", f"{n} in {name}", noninferior)
    yield level_row("above chance by sign flips, one in five shared", f"{n} in {name}", lucky)


def share_of(draws: list[Array], is_true: Callable[[Array], bool]) -> float:
    """Return the share of the draws for which a statement is true."""
    return float(np.mean([is_true(uniform) for uniform in draws]))


def covers(is_right: NDArray[np.bool_], clusters: Codes, p: float) -> bool:
    """Return whether Wilson's interval with the effective size contains p."""
    credit = is_right.astype(np.float64)
    size = effective_size(credit, clusters)
    low, high = wilson_intervals(credit.mean() * size, size)
    return bool(low <= p <= high)


def differences(uniform: Array, gain: float, loss: float) -> Array:
    """Return 1 for a gained, -1 for a lost and 0 for any other item."""
    return (uniform < gain) * 1.0 - (uniform >= 1 - loss)


def effective_pairs(differences: Array, clusters: Codes) -> tuple[float, float, float]:
    """Return the gained, lost and all items of clustered pairs as numbers of independent items: b / D, c / D, n / D.

    D is the design effect of `proportions.effective_size`, with the differences minus their mean as residuals, their
    variance (divided by n) as the variance of one item, and 4 (b + c) in the place of 16 k.

    Args:
        differences: [n], 1 for a gained, -1 for a lost item, else 0.
        clusters: [n], the number of the item's cluster, from 0 without gaps.
    """
    n_gained, n_lost = float((differences == 1).sum()), float((differences == -1).sum())
    residuals = differences - differences.mean()
    variance = float((residuals**2).mean())
    effect = design_effect(residuals, clusters, variance=variance, weight=4 * (n_gained + n_lost))
    return n_gained / effect, n_lost / effect, len(differences) / effect


def covers_difference(uniform: Array, clusters: Codes, gain: float, loss: float) -> bool:
    """Return whether Tango's interval with effective pairs contains the true difference."""
    return tango_interval(*effective_pairs(differences(uniform, gain, loss), clusters)).contains(gain - loss)


def is_noninferior(uniform: Array, clusters: Codes, margin: float, gain: float) -> bool:
    """Return whether non-inferiority is significant although the true difference is -margin."""
    pairs = effective_pairs(differences(uniform, gain, gain + margin), clusters)
    return noninferiority_p_value(*pairs, margin=margin) < 0.05


def is_above_chance(uniform: Array, clusters: Codes) -> bool:
    """Return whether guesses among six candidates, a fifth of them ties of two candidates, are above chance."""
    credit = np.where(np.arange(len(uniform)) % 5 == 0, 0.5 * (uniform < 1 / 3), 1.0 * (uniform < 1 / 6))
    return chance_p_value(credit, np.full(len(uniform), 1 / 6), clusters) < 0.05


def planted_rows(n: int, n_draws: int) -> Iterator[Row]:
    """Power with a planted effect of the detectable size, by simulation, where 80 % are stated."""
    found = {}
    for n_tests in (1, 6, 318):
        difference = detectable_difference_of_items(n, 0.2, n_tests=n_tests, test="tango")
        assert difference is not None
        discordant = max(0.2, difference)
        probabilities = [(discordant + difference) / 2, (discordant - difference) / 2, 1 - discordant]
        gained, lost, _ = np.random.default_rng(n_tests).multinomial(n, probabilities, size=n_draws).T
        found[f"{n_tests} tests"] = float((tango_p_values(gained, lost, n) < 0.05 / n_tests).mean())
    row = coverage_row("planted effect found, stated power 80 %", f"{n} pairs", found)
    tolerance = 400 * (0.16 / n_draws) ** 0.5
    yield Row(row.name, row.items, row.average, row.worst, row.where, abs(row.worst - 80) <= tolerance)


def independent_rows(n: int, *, n_grid: int) -> Iterator[Row]:
    """Measure all rows of n independent items."""
    yield from wilson_rows(n)
    yield from tango_rows(n, n_grid)
    yield from mcnemar_rows(n)
    yield from equivalence_rows(n)
    yield from chance_rows(n)
    yield from planted_rows(n, 200_000)


def measure(sizes: tuple[int, ...], *, n_grid: int, n_draws: int) -> Iterator[Row]:
    """Measure all rows."""
    for n in sizes:
        yield from independent_rows(n, n_grid=n_grid)
    for name, clusters in CLUSTERS.items():
        yield from clustered_rows(name, clusters, n_draws)


def main() -> None:
    """Print one line per row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 150, 300])
    parser.add_argument("--grid", type=int, default=31, help="probabilities of gain and loss")
    parser.add_argument("--draws", type=int, default=2000, help="simulations of clustered items")
    arguments = parser.parse_args()
    print(f"{'':68} {'items':24} {'average':>8} {'worst':>8}  kept  worst at")
    for row in measure(tuple(arguments.sizes), n_grid=arguments.grid, n_draws=arguments.draws):
        kept = "yes" if row.is_met else "NO"
        print(f"{row.name:68} {row.items:24} {row.average:8.2f} {row.worst:8.2f}  {kept:4}  {row.where}", flush=True)


if __name__ == "__main__":
    main()
