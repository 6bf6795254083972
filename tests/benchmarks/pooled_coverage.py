"""Simulated coverage of the model over languages.

python tests/benchmarks/pooled_coverage.py --repeats 1000

Each line is one population of languages whose differences have errors of 1: the share of samples in which the 95 %
intervals cover the true differences, the mean of all languages that could be drawn, and the true difference of a
further language; the root mean square error of the pooled differences, relative to that of the single ones; and, with
`error`, the Monte Carlo standard error of each. The last line has the smallest and largest shares.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from mlprune.numeric.statistics.partial_pooling import partial_pooling
from tests.benchmarks.conditions import machine, moment

Row = dict[str, float]

LANGUAGES, DEVIATIONS, CORRELATIONS = (3, 4, 6, 12), (0.0, 0.5, 1.0, 3.0), (0.0, 0.5)
COVERAGES = ("differences", "mean", "further language")


@dataclass(frozen=True)
class Population:
    """Languages whose true differences are drawn from one normal distribution."""

    n_languages: int
    deviation: float
    """Standard deviation of the true differences, in standard errors of a language."""
    correlation: float
    """Of the errors of two languages, which share items."""


def populations() -> list[Population]:
    """All populations."""
    return [Population(*values) for values in itertools.product(LANGUAGES, DEVIATIONS, CORRELATIONS)]


def coverage_row(population: Population, repeats: int) -> Row:
    """Draw samples of one population, always the same ones."""
    generator, n = np.random.default_rng(3), population.n_languages
    covariance = population.correlation + (1 - population.correlation) * np.eye(n)
    factor = np.linalg.cholesky(covariance)
    covered, squares = np.zeros((repeats, 3)), np.zeros((repeats, 2))
    for repeat in range(repeats):
        *effects, further = population.deviation * generator.standard_normal(n + 1)
        values = np.array(effects) + factor @ generator.standard_normal(n)
        model = partial_pooling(values, covariance)
        of_languages = [one.contains(effect) for one, effect in zip(model.intervals, effects, strict=True)]
        covered[repeat] = np.mean(of_languages), model.mean_interval.contains(0.0), model.new_interval.contains(further)
        squares[repeat] = ((np.array([model.effects, values]) - effects) ** 2).mean(axis=1)
    shares, errors = covered.mean(axis=0), covered.std(axis=0, ddof=1) / repeats**0.5
    ratio = (squares[:, 0].mean() / squares[:, 1].mean()) ** 0.5
    return {
        **vars(population),
        **dict(zip(COVERAGES, shares.tolist(), strict=True)),
        **{f"error, {name}": error for name, error in zip(COVERAGES, errors.tolist(), strict=True)},
        "root mean square": float(ratio),
    }


def rows(repeats: int, chosen: Sequence[Population]) -> Iterator[Row]:
    """One row per population."""
    for population in chosen:
        yield coverage_row(population, repeats)


def main(arguments: list[str] | None = None) -> int:
    """Print one line per population, and the range of each share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000, help="samples per population")
    chosen = parser.parse_args(arguments)
    print(json.dumps({**machine(), **moment(), "repeats": chosen.repeats}))
    found = []
    for row in rows(chosen.repeats, populations()):
        found.append(row)
        print(json.dumps({key: round(value, 4) for key, value in row.items()}), flush=True)
    ends = {
        name: [round(end(row[name] for row in found), 4) for end in (min, max)]
        for name in (*COVERAGES, "root mean square")
    }
    print(json.dumps(ends))
    return 0


if __name__ == "__main__":
    sys.exit(main())
