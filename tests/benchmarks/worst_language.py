"""Simulated level, power and coverage of tests of the worst language.

python tests/benchmarks/worst_language.py --repeats 1000

Each line is one population of two models in five or six languages: the share of samples in which each test rejects at
0.05, and the shares in which the 95 % and the 90 % interval of `minima_test` cover the true difference of the minima.
Target: at most 6 % where the minima are equal. The other tests are not used: the difference of the minima with the
larger p-value of exchanged models and of the inverted BCa interval; Bonferroni over the languages that may be the
lowest one of the other model; the language that is the lowest one of the other model in half of the clusters, tested
with the other half.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special

sys.path.insert(0, str(Path(__file__).parents[2]))
from mlprune.evaluation.inference.minima import LanguageShares, minima_test
from mlprune.numeric.statistics.bootstrap import bca_interval, cluster_resamples, leave_one_out_sums, resampled_sums
from mlprune.numeric.statistics.sign_flips import sign_flip_tests, sign_flips, swap_p_values
from tests.benchmarks.conditions import machine, moment

Array = NDArray[np.float64]
Row = dict[str, object]

N_FLIPS, N_RESAMPLES = 1999, 999
SHARED_BY_LANGUAGES, SHARED_BY_MODELS = 0.3, 0.5
"""Shares of an item's difficulty that are equal in all languages, and equal for both models in one language."""


@dataclass(frozen=True)
class Population:
    """Probabilities of a right answer in each language."""

    variant: tuple[float, ...]
    baseline: tuple[float, ...]
    items_per_cluster: int = 1
    n_items: int = 120
    kept: tuple[float, ...] = ()
    """Share of the items that each language has; all if empty."""

    @property
    def difference(self) -> float:
        """True difference of the minima."""
        return min(self.variant) - min(self.baseline)


POPULATIONS = {
    "equal models": Population((0.3, 0.5, 0.6, 0.6, 0.8), (0.3, 0.5, 0.6, 0.6, 0.8)),
    "equal models, all tied": Population((0.4,) * 5, (0.4,) * 5),
    "equal minima, other languages": Population((0.3, 0.5, 0.6, 0.6, 0.8), (0.5, 0.3, 0.6, 0.6, 0.8)),
    "one lowest against five": Population((0.4,) * 5, (0.4, 0.7, 0.7, 0.7, 0.7)),
    "five lowest against one": Population((0.9, 0.7, 0.4, 0.7, 0.7), (0.4,) * 5),
    "six languages, one against five": Population((0.4,) * 5 + (0.9,), (0.9, 0.9, 0.9, 0.9, 0.9, 0.4), n_items=150),
    "one against nearly tied": Population((0.7, 0.7, 0.4, 0.7, 0.7), (0.4, 0.42, 0.45, 0.5, 0.6)),
    "one against a gap": Population((0.7, 0.7, 0.4, 0.7, 0.7), (0.4, 0.55, 0.55, 0.55, 0.55)),
    "clusters of three, one against five": Population((0.9, 0.7, 0.4, 0.7, 0.7), (0.4,) * 5, 3, 150),
    "few clusters, one against five": Population((0.9, 0.7, 0.4, 0.7, 0.7), (0.4,) * 5, 6),
    "unequal items, one against five": Population(
        (0.9, 0.7, 0.4, 0.7, 0.7), (0.4,) * 5, 2, 150, (1.0, 0.8, 0.3, 0.5, 0.6)
    ),
    "floor, all tied": Population((0.03,) * 5, (0.03,) * 5),
    "floor, one against five": Population((0.03, 0.3, 0.3, 0.3, 0.3), (0.03,) * 5),
    "floor, equal minima": Population((0.03, 0.3, 0.3, 0.3, 0.3), (0.3, 0.03, 0.3, 0.3, 0.3)),
    "gain 0.05, one lowest": Population((0.35, 0.7, 0.7, 0.8, 0.9), (0.3, 0.65, 0.7, 0.8, 0.9)),
    "gain 0.1, one lowest": Population((0.4, 0.7, 0.7, 0.8, 0.9), (0.3, 0.65, 0.7, 0.8, 0.9)),
    "gain 0.1, others near": Population((0.4, 0.6, 0.7, 0.7, 0.8), (0.3, 0.5, 0.6, 0.6, 0.8)),
    "gain 0.1, two tied": Population((0.4, 0.4, 0.7, 0.7, 0.8), (0.3, 0.3, 0.6, 0.6, 0.8)),
    "gain 0.1, all tied": Population((0.5,) * 5, (0.4,) * 5),
    "gain 0.1, one against five": Population((0.7, 0.7, 0.5, 0.7, 0.7), (0.4,) * 5),
    "gain 0.1, other language": Population((0.6, 0.4, 0.7, 0.7, 0.8), (0.3, 0.6, 0.7, 0.7, 0.8)),
}


def draw(generator: np.random.Generator, population: Population) -> tuple[LanguageShares, LanguageShares]:
    """Draw both models' answers; clusters share a difficulty, and items of a cluster a part of it."""
    n_languages, n_items = len(population.variant), population.n_items
    n_clusters = n_items // population.items_per_cluster
    shared = np.repeat(generator.normal(size=(n_clusters, 1)), population.items_per_cluster, axis=0)
    of_language = generator.normal(size=(n_items, n_languages))
    has_item = generator.random((n_items, n_languages)) < np.array(population.kept or [1.0] * n_languages)
    has_item[0] = True
    sides = []
    for chances in (population.variant, population.baseline):
        own = generator.normal(size=(n_items, n_languages))
        rest = 1 - SHARED_BY_LANGUAGES - SHARED_BY_MODELS
        luck = np.sqrt([SHARED_BY_LANGUAGES, SHARED_BY_MODELS, rest]) @ np.stack(
            [np.broadcast_to(shared, own.shape), of_language, own]
        ).reshape(3, -1)
        right = (luck.reshape(own.shape) < special.ndtri(chances)) & has_item
        sums = [
            part.reshape(n_clusters, -1, n_languages).sum(axis=1) / has_item.sum(axis=0) for part in (right, has_item)
        ]
        sides.append(LanguageShares(*sums))
    return sides[0], sides[1]


def of_resampled_minima(
    first: LanguageShares, second: LanguageShares, flips: NDArray[np.int8], counts: NDArray[np.uint16]
) -> float:
    """The larger p-value of exchanged models and of the inverted BCa interval of the difference of the minima."""

    def difference(ours: Array, theirs: Array) -> Array:
        return np.asarray(ours.min(axis=-1) - theirs.min(axis=-1))

    sums = first.contributions + second.contributions, first.contributions - second.contributions
    total = sums[0].sum(axis=0)

    def exchanges(signs: NDArray[np.int8]) -> Array:
        distances = signs @ sums[1]
        return difference((total + distances) / 2, (total - distances) / 2)

    exchanged = float(swap_p_values(exchanges, flips))
    ratios = [
        [
            part(side.contributions) / part(side.sizes)
            for part in (lambda x: resampled_sums(counts, x), leave_one_out_sums)
        ]
        for side in (first, second)
    ]
    resampled, left_out = (difference(ratios[0][index], ratios[1][index]) for index in range(2))
    value = float(difference(first.values, second.values))
    return max(exchanged, 0.0 if not bca_interval(resampled, value, left_out).contains(0.0) else 1.0)


def of_pairs(first: LanguageShares, second: LanguageShares, flips: NDArray[np.int8]) -> Array:
    """One-sided p-values of "v_l is not above d_k" and "d_k is not above v_l", [2, L, L]."""
    n = len(first.values)
    d = (first.contributions[:, :, None] - second.contributions[:, None]).reshape(len(first.sizes), -1)
    m = ((first.sizes[:, :, None] + second.sizes[:, None]) / 2).reshape(len(first.sizes), -1)
    results = sign_flip_tests(d, m, flips, bound=None)
    upwards = np.array([r.p_value / 2 if r.difference > 0 else 1 - r.p_value / 2 for r in results]).reshape(n, n)
    return np.stack([upwards, 1 - upwards])


def of_bonferroni(first: LanguageShares, second: LanguageShares, flips: NDArray[np.int8]) -> float:
    """The smallest over k of the largest over l of the p-values, times the number of languages k that may be lowest."""
    gains, losses = of_pairs(first, second, flips)
    candidates = [of_pairs(side, side, flips)[0].min(axis=1) >= 0.0025 / len(side.values) for side in (second, first)]
    p_gain = gains.max(axis=0)[candidates[0]].min() * candidates[0].sum()
    p_loss = losses.max(axis=1)[candidates[1]].min() * candidates[1].sum()
    return float(min(1.0, 2 * min(p_gain, p_loss)))


def of_halves(first: LanguageShares, second: LanguageShares) -> float:
    """The p-value in one half of the clusters against the language that is the lowest one in the other half."""
    halves = [
        [
            LanguageShares(
                side.contributions[rows] / side.sizes[rows].sum(axis=0), side.sizes[rows] / side.sizes[rows].sum(axis=0)
            )
            for side in (first, second)
        ]
        for rows in (slice(0, None, 2), slice(1, None, 2))
    ]
    first_half, second_half = halves[1]
    gains, losses = of_pairs(first_half, second_half, sign_flips(len(first_half.sizes), n_flips=N_FLIPS))
    lowest, of_baseline = (int(side.values.argmin()) for side in halves[0])
    return float(min(1.0, 2 * min(gains[:, of_baseline].max(), losses[lowest].max())))


def rows(repeats: int, names: Sequence[str] = tuple(POPULATIONS), *, others: bool = True) -> Iterator[Row]:
    """One row per population."""
    for name in names:
        population, generator = POPULATIONS[name], np.random.default_rng(1)
        n_clusters = population.n_items // population.items_per_cluster
        flips = sign_flips(n_clusters, n_flips=N_FLIPS)
        counts = cluster_resamples(n_clusters, n_resamples=N_RESAMPLES, seed=0)
        rejected: dict[str, int] = {}
        covered = covered90 = 0
        for _ in range(repeats):
            first, second = draw(generator, population)
            result = minima_test(first, second, flips, bound=1.0)
            covered += result.interval.contains(population.difference)
            covered90 += result.interval90.contains(population.difference)
            p_values = {"minima_test": result.p_value}
            if others:
                p_values |= {
                    "resampled": of_resampled_minima(first, second, flips, counts),
                    "bonferroni": of_bonferroni(first, second, flips),
                    "halves": of_halves(first, second),
                }
            for method, p_value in p_values.items():
                rejected[method] = rejected.get(method, 0) + (p_value < 0.05)
        shares = {method: count / repeats for method, count in rejected.items()}
        coverages = {"coverage": covered / repeats, "coverage90": covered90 / repeats}
        yield {"population": name, "difference": population.difference, **shares, **coverages}


def main(arguments: list[str] | None = None) -> int:
    """Print one line per population."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000, help="samples per population")
    parser.add_argument("--only", choices=POPULATIONS, action="append", help="populations")
    parser.add_argument("--alone", action="store_true", help="minima_test without the other tests")
    chosen = parser.parse_args(arguments)
    print(json.dumps({**machine(), **moment(), "repeats": chosen.repeats, "flips": N_FLIPS, "resamples": N_RESAMPLES}))
    for row in rows(chosen.repeats, chosen.only or tuple(POPULATIONS), others=not chosen.alone):
        print(json.dumps({key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
