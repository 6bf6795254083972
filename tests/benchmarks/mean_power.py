"""Simulated power and level of tests of a mean over seeds and items.

python tests/benchmarks/mean_power.py --repeats 2000

Each line with `power` is one population: how often the test of the mean rejects 0 if the true difference is the one
that `detectable_difference_of_mean` states for a power of 0.8, given the true parts of the error. Target: 0.75 to
0.85. With one seed, items alone are a sample, and signs are flipped. In those that are `is_two_sided`, variant and
baseline have seeds of their own. Each line with `level` is one of these without a difference: how often the test
rejects at 0.05, and how often one that knows only the variant's seeds would. Target: at most 0.055.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))
from mlprune.numeric.statistics.power import detectable_difference_of_mean
from mlprune.numeric.statistics.sign_flips import sign_flip_test, sign_flips
from mlprune.numeric.statistics.variance_components import (
    CrossedEstimate,
    ErrorNumbers,
    ErrorParts,
    crossed_estimate,
    unpaired_estimate,
)
from tests.benchmarks.conditions import machine, moment

Array = NDArray[np.float64]
Row = dict[str, object]

FAMILIES = (1, 5, 15)
SEEDS, ITEMS, SHARES, RESTS = (2, 3, 5), (24, 40, 225), (0.0, 0.2, 0.5, 0.8), (0.1, 0.9)
LEVEL_SEEDS, LEVEL_SHARES, LEVEL_ITEMS = (3, 5), (0.0, 0.3, 0.6, 0.9), 60


@dataclass(frozen=True)
class Population:
    """Normal differences of seeds and items; the squared standard error of their mean is 1."""

    n_seeds: int
    n_items: int
    share: float
    """Of the squared error, from seeds."""
    rest: float
    """Of the remaining error, what items vary from seed to seed."""
    is_two_sided: bool = False
    """Whether the baseline has as many seeds of its own, with half of both parts."""

    @property
    def parts(self) -> ErrorParts:
        """The true parts of the squared error."""
        of_seeds = self.share + (1 - self.share) * self.rest
        of_side = of_seeds / 2 if self.is_two_sided else of_seeds
        return ErrorParts(of_side, of_side if self.is_two_sided else 0.0, 1 - of_seeds)

    def draw(self, generator: np.random.Generator) -> tuple[Array, Array]:
        """Return values of the variant's seeds and of the baseline's, [S, C] each; the baseline's are 0 without any."""
        shape, n_sides = (self.n_seeds, self.n_items), 1 + self.is_two_sided
        sides = []
        for _ in range(n_sides):
            seeds = generator.normal(size=(self.n_seeds, 1)) * (self.share * self.n_seeds / n_sides) ** 0.5
            rest = (1 - self.share) * self.rest * self.n_seeds * self.n_items / n_sides
            sides.append(seeds + generator.normal(size=shape) * rest**0.5)
        items = generator.normal(size=self.n_items) * (self.parts.items * self.n_items) ** 0.5
        return sides[0] + items, sides[1] if self.is_two_sided else np.zeros((1, self.n_items))

    def estimate(self, variant: Array, baseline: Array) -> CrossedEstimate:
        """Return the estimate that an answer has."""
        if not self.is_two_sided:
            return crossed_estimate(variant)
        return unpaired_estimate(variant - baseline.mean(axis=0), variant.mean(axis=0) - baseline)


def power_rows(repeats: int, populations: Sequence[Population]) -> Iterator[Row]:
    """One row per population."""
    for population in populations:
        generator = np.random.default_rng(1)
        numbers = ErrorNumbers(population.n_seeds, population.n_seeds, population.n_items)
        stated = {
            n_family: detectable_difference_of_mean(population.parts, numbers, n_tests=n_family)
            for n_family in FAMILIES
        }
        found = dict.fromkeys(FAMILIES, 0)
        for _ in range(repeats):
            drawn = population.draw(generator)
            for n_family, difference in stated.items():
                found[n_family] += _is_found(population, drawn, difference, level=1 - 0.05 / n_family)
        shares = {f"power of {n_family}": count / repeats for n_family, count in found.items()}
        yield {**vars(population), **shares}


def _is_found(population: Population, drawn: tuple[Array, Array], difference: float, *, level: float) -> bool:
    if population.n_seeds > 1:
        estimate = population.estimate(*drawn)
        return not estimate.interval(level).contains(-difference)
    d = (drawn[0][0] + difference) / population.n_items
    flips = sign_flips(population.n_items, n_flips=1999)
    return sign_flip_test(d, np.full(len(d), 1 / len(d)), flips, bound=None).p_value < 1 - level


def level_rows(repeats: int, populations: Sequence[Population]) -> Iterator[Row]:
    """One row per population with seeds on both sides, without a difference."""
    for population in populations:
        generator, rejected, of_one_side = np.random.default_rng(2), 0, 0
        for _ in range(repeats):
            variant, baseline = population.draw(generator)
            rejected += not population.estimate(variant, baseline).interval().contains(0.0)
            of_one_side += not crossed_estimate(variant - baseline.mean(axis=0)).interval().contains(0.0)
        yield {**vars(population), "level": rejected / repeats, "level of one side": of_one_side / repeats}


def power_populations() -> list[Population]:
    """All populations of the tests' power; with one seed, nothing varies from seed to seed."""
    one_seed = [Population(1, n_items, 0.0, 0.0) for n_items in ITEMS]
    one_side = [Population(*values) for values in itertools.product(SEEDS, ITEMS, SHARES, RESTS)]
    two_sides = [Population(*values, True) for values in itertools.product(LEVEL_SEEDS, (40,), SHARES, RESTS)]
    return one_seed + one_side + two_sides


def level_populations() -> list[Population]:
    """All populations of the tests' level."""
    return [
        Population(n_seeds, LEVEL_ITEMS, share, rest, is_two_sided=True)
        for n_seeds, share, rest in itertools.product(LEVEL_SEEDS, LEVEL_SHARES, RESTS)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print one line per population."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000, help="samples per population")
    chosen = parser.parse_args(arguments)
    print(json.dumps({**machine(), **moment(), "repeats": chosen.repeats}))
    powers = power_rows(chosen.repeats, power_populations())
    for row in itertools.chain(powers, level_rows(chosen.repeats, level_populations())):
        print(json.dumps({key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
