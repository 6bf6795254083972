"""Simulated coverage of intervals and level of tests over clusters.

python tests/benchmarks/resampling_coverage.py --repeats 1000

Each line is one population: the share of samples whose 95 % interval covers the true value, and the share whose test
rejects a true hypothesis at 0.05. Targets: coverage 93 to 97 % on average and at least 90 %; level at most 6 %, and at
least 4 % from 25 expected changed clusters on.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))
from mlprune.capabilities.sensitivity.max_t import max_t_p_values
from mlprune.numeric.evaluation.metrics import N_BINS, calibration_cells
from mlprune.numeric.statistics import bootstrap
from mlprune.numeric.statistics.calibration_interval import calibration_difference, calibration_interval
from mlprune.numeric.statistics.cluster_score import FEW_CHANGED_CLUSTERS, squared_score
from mlprune.numeric.statistics.clusters import ratio_estimate
from mlprune.numeric.statistics.sign_flips import sign_flip_test, sign_flip_tests, sign_flips, swap_test
from tests.benchmarks.conditions import machine, moment

Array = NDArray[np.float64]
Row = dict[str, object]

N_FLIPS, N_RESAMPLES = 9999, 999
SQUARED_Z = 1.959963984540054**2
CHANGES = ((0.0, 0.01), (0.01, 0.01), (0.0, 0.03), (0.03, 0.03), (0.02, 0.08), (0.1, 0.1), (0.05, 0.25), (0.3, 0.3))
"""Probability that an item is gained, and that it is lost."""
SHAPES = {
    "one item": {"largest": 1, "dependence": 0.0, "credit": (1.0,)},
    "1-4 items": {"largest": 4, "dependence": 0.6, "credit": (1.0,)},
    "1-4, fractional": {"largest": 4, "dependence": 0.6, "credit": (1 / 3, 0.5, 1.0)},
}


def paired_clusters(
    generator: np.random.Generator, shape: tuple[int, int], change: tuple[float, float], *, kind: str
) -> tuple[Array, Array]:
    """Draw contributions and sizes, [clusters, samples]. Items of a cluster change together with some probability."""
    settings = SHAPES[kind]
    values, chances = [1.0, -1.0, 0.0], [*change, 1 - sum(change)]
    sizes = generator.integers(1, settings["largest"] + 1, shape)
    together = generator.choice(values, size=shape, p=chances)
    contributions = np.zeros(shape)
    for item in range(settings["largest"]):
        alone = generator.choice(values, size=shape, p=chances)
        changed = np.where(generator.random(shape) < settings["dependence"], together, alone)
        contributions += np.where(item < sizes, changed * generator.choice(settings["credit"], size=shape), 0.0)
    return contributions, sizes.astype(np.float64)


def sign_flip_rows(repeats: int) -> Iterator[Row]:
    """Coverage of the inverted test, and level where gains and losses are equally likely."""
    for n_clusters, kind, change in product((20, 60, 115, 300), SHAPES, CHANGES):
        generator, flips = np.random.default_rng(1), sign_flips(n_clusters, n_flips=N_FLIPS)
        d, m = paired_clusters(generator, (n_clusters, repeats), change, kind=kind)
        truth = (change[0] - change[1]) * float(np.mean(SHAPES[kind]["credit"]))
        results = sign_flip_tests(d, m, flips, bound=None)
        covered = sum(
            result.interval.contains(truth) or is_covered_by_the_score(d[:, column], m[:, column], truth)
            for column, result in enumerate(results)
        )
        row: Row = {"what": "sign flips", "clusters": n_clusters, "shape": kind, "change": change}
        row |= {"changed": float((d != 0).sum(axis=0).mean()), "coverage": covered / repeats}
        if change[0] == change[1]:
            row["level"] = float(np.mean([result.p_value < 0.05 for result in results]))
        yield row


def is_covered_by_the_score(contributions: Array, sizes: Array, truth: float) -> bool:
    """Whether few changed clusters extend the interval of the sign flips to the truth; never to a rejected 0."""
    if truth == 0 or np.count_nonzero(contributions) >= FEW_CHANGED_CLUSTERS:
        return False
    return squared_score(contributions, sizes, difference=truth, bound=1.0) <= SQUARED_Z


def max_t_rows(repeats: int) -> Iterator[Row]:
    """Share of families of 20 equal variants in which any is significant."""
    for n_clusters, kind in product((30, 115), SHAPES):
        generator, flips = np.random.default_rng(2), sign_flips(n_clusters, n_flips=999)
        n_rejected, n_families = 0, max(1, repeats // 4)
        for _ in range(n_families):
            d, m = paired_clusters(generator, (n_clusters, 20), (0.1, 0.1), kind=kind)
            common, _ = paired_clusters(generator, (n_clusters, 1), (0.1, 0.1), kind=kind)
            d = np.where(generator.random((n_clusters, 1)) < 0.5, common, d)
            n_rejected += bool((max_t_p_values(d, m[:, 0], flips) < 0.05).any())
        yield {"what": "max-T of 20", "clusters": n_clusters, "shape": kind, "level": n_rejected / n_families}


def f_score(sums: Array) -> Array:
    """Corpus F1 of matches, lengths of outputs and lengths of references."""
    return 2 * sums[..., 0] / (sums[..., 1] + sums[..., 2])


def sentences(generator: np.random.Generator, n: int, *, quality: float) -> Array:
    """Matches and lengths of sentences, [n, 3]; a tenth of the outputs is repetition."""
    reference = generator.integers(4, 40, n)
    output = np.where(generator.random(n) < 0.1, 60, np.maximum(1, reference + generator.integers(-3, 4, n)))
    share = np.where(output == 60, 0.1, generator.beta(20 * quality, 20 * (1 - quality), n))
    return np.stack([np.rint(share * np.minimum(output, reference)), output, reference], axis=1).astype(np.float64)


def corpus_metric_rows(repeats: int) -> Iterator[Row]:
    """BCa interval of a corpus score, and level of swaps between two systems of one quality."""
    for n_clusters, quality in product((40, 150), (0.6, 0.97)):
        generator, flips = np.random.default_rng(3), sign_flips(n_clusters, n_flips=499)
        counts = bootstrap.cluster_resamples(n_clusters, n_resamples=N_RESAMPLES)
        truth = float(f_score(sentences(generator, 10**6, quality=quality).sum(axis=0)))
        covered = covered90 = percentile_covered = rejected = 0
        for _ in range(repeats):
            sample, other = (sentences(generator, n_clusters, quality=quality) for _ in range(2))
            other[:, 2] = sample[:, 2]
            other[:, 0] = np.minimum(other[:, 0], other[:, 2])
            resampled = f_score(bootstrap.resampled_sums(counts, sample))
            jackknife = f_score(bootstrap.leave_one_out_sums(sample))
            value = float(f_score(sample.sum(axis=0)))
            covered += bootstrap.bca_interval(resampled, value, jackknife).contains(truth)
            covered90 += bootstrap.bca_interval(resampled, value, jackknife, level=0.9).contains(truth)
            percentile_covered += bootstrap.percentile_interval(resampled).contains(truth)
            rejected += swap_test(*symmetric(generator, sample, other), f_score, flips) < 0.05
        row: Row = {"what": "F1 of a corpus, BCa", "clusters": n_clusters, "shape": f"quality {quality}"}
        yield row | {"coverage": covered / repeats, "level": rejected / repeats}
        yield row | {"what": "F1 of a corpus, BCa 90 %", "coverage": covered90 / repeats}
        yield row | {"what": "F1 of a corpus, percentile", "coverage": percentile_covered / repeats}


def symmetric(generator: np.random.Generator, first: Array, second: Array) -> tuple[Array, Array]:
    """Swap each cluster with probability 1/2, so that the two systems are exchangeable."""
    swapped = generator.random((len(first), 1)) < 0.5
    return np.where(swapped, second, first), np.where(swapped, first, second)


def perplexity_rows(repeats: int) -> Iterator[Row]:
    """Intervals of ln(perplexity) and of its difference between two models, texts with a long tail."""
    for n_clusters, tail in product((40, 150), (0.3, 1.0)):
        generator, flips = np.random.default_rng(4), sign_flips(n_clusters, n_flips=1999)
        counts = bootstrap.cluster_resamples(n_clusters, n_resamples=N_RESAMPLES)
        truth = 3 * float(np.exp(tail**2 / 2))
        hits = {"t": 0, "studentised bootstrap": 0, "sign flips of the difference": 0, "t of the difference": 0}
        rejected = {"sign flips of the difference": 0, "t of the difference": 0}
        for _ in range(repeats):
            tokens = generator.integers(5, 60, n_clusters).astype(np.float64)
            losses = tokens * 3 * np.exp(tail * generator.normal(size=n_clusters))
            gaps = (
                tokens
                * 0.1
                * generator.standard_t(4, size=n_clusters)
                * np.exp(tail * generator.normal(size=n_clusters))
            )
            estimate = ratio_estimate(losses, tokens)
            ratios, errors = bootstrap.resampled_ratios(counts, losses, sizes=tokens)
            studentized = bootstrap.studentized_interval(
                estimate.value, estimate.standard_error, resampled=ratios, resampled_errors=errors
            )
            flipped = sign_flip_test(gaps, tokens, flips, bound=None)
            hits["t"] += bootstrap.ratio_t_interval(losses, tokens).contains(truth)
            hits["studentised bootstrap"] += studentized.contains(truth)
            hits["sign flips of the difference"] += flipped.interval.contains(0.0)
            is_covered = bootstrap.ratio_t_interval(gaps, tokens).contains(0.0)
            hits["t of the difference"] += is_covered
            rejected["sign flips of the difference"] += flipped.p_value < 0.05
            rejected["t of the difference"] += not is_covered
        for method, n_hits in hits.items():
            row: Row = {"what": f"ln(perplexity), {method}", "clusters": n_clusters, "shape": f"tail {tail}"}
            yield (
                row
                | {"coverage": n_hits / repeats}
                | ({"level": rejected[method] / repeats} if method in rejected else {})
            )


CALIBRATIONS: dict[str, tuple[tuple[float, float], Callable[[Array], Array]]] = {
    "calibrated": ((2.0, 2.0), lambda confidence: confidence),
    "5 points too sure": ((2.0, 2.0), lambda confidence: confidence - 0.05),
    "20 points too sure": ((5.0, 1.5), lambda confidence: np.maximum(0.0, confidence - 0.2)),
    "flat": ((1.0, 3.0), lambda confidence: 0.6 * confidence + 0.1),
    "at the ceiling": ((20.0, 0.7), lambda confidence: np.maximum(0.0, confidence - 0.02)),
}


def true_calibration_error(generator: np.random.Generator, kind: str) -> float:
    """The calibration error of two million items whose correctness is its probability."""
    (alpha, beta), probability = CALIBRATIONS[kind]
    confidence = 0.2 + 0.8 * generator.beta(alpha, beta, 2 * 10**6)
    return float(np.abs(calibration_cells(confidence, probability(confidence)).mean(axis=0)).sum())


def calibration_means(
    generator: np.random.Generator, luck: Array, *, kind: str, counts: NDArray[np.uint16]
) -> tuple[Array, Array]:
    """Means of cells of a sample and of its resamples; items of a cluster share their luck half of the time."""
    (alpha, beta), probability = CALIBRATIONS[kind]
    confidence = 0.2 + 0.8 * generator.beta(alpha, beta, luck.shape)
    shared = np.where(generator.random(luck.shape) < 0.5, luck[:, :1], luck)
    correct = (shared < probability(confidence)).astype(np.float64)
    cells = calibration_cells(confidence.reshape(-1), correct.reshape(-1)) / luck.size
    sums = cells.reshape(*luck.shape, N_BINS).sum(axis=1)
    return sums.sum(axis=0), bootstrap.resampled_sums(counts, sums)


def calibration_rows(repeats: int) -> Iterator[Row]:
    """Interval of the calibration error, and of its difference from a calibrated model on the same items."""
    for (n_clusters, n_items), kind in product(((60, 1), (150, 1), (600, 1), (60, 3)), CALIBRATIONS):
        generator = np.random.default_rng(5)
        counts = bootstrap.cluster_resamples(n_clusters, n_resamples=N_RESAMPLES)
        truth = true_calibration_error(generator, kind)
        hits = {"inverted": 0, "percentile": 0, "difference": 0, "difference, percentile": 0}
        values, plain = [], []
        for _ in range(repeats):
            luck = generator.random((n_clusters, n_items))
            (cells, resampled), (other, other_resampled) = (
                calibration_means(generator, luck, kind=model, counts=counts) for model in (kind, "calibrated")
            )
            sums, other_sums = np.abs(resampled).sum(axis=1), np.abs(other_resampled).sum(axis=1)
            estimate = calibration_interval(resampled, cells)
            correlation = float(np.clip(np.corrcoef(sums, other_sums)[0, 1], -1, 1))
            second = calibration_interval(other_resampled, other)
            difference = calibration_difference(estimate, second, correlation=correlation)
            values.append(estimate.value)
            plain.append(float(np.abs(cells).sum()))
            hits["inverted"] += estimate.interval.contains(truth)
            hits["percentile"] += bootstrap.percentile_interval(sums).contains(truth)
            hits["difference"] += difference.interval.contains(truth)
            hits["difference, percentile"] += bootstrap.percentile_interval(sums - other_sums).contains(truth)
        for method, n_hits in hits.items():
            row: Row = {"what": f"calibration error, {method}", "clusters": n_clusters}
            row |= {"shape": f"{n_items} per cluster, {kind}", "coverage": n_hits / repeats, "truth": truth}
            means = {"mean": float(np.mean(values)), "uncorrected": float(np.mean(plain))}
            yield row | (means if method == "inverted" else {})


PARTS: dict[str, Callable[[int], Iterator[Row]]] = {
    "flips": sign_flip_rows,
    "max-t": max_t_rows,
    "corpus": corpus_metric_rows,
    "perplexity": perplexity_rows,
    "calibration": calibration_rows,
}


def summary(rows: list[Row]) -> Iterator[str]:
    """Mean and smallest coverage, and the range of levels, of each method."""
    for what in dict.fromkeys(str(row["what"]) for row in rows):
        coverages = [float(str(row["coverage"])) for row in rows if row["what"] == what and "coverage" in row]
        levels = [float(str(row["level"])) for row in rows if row["what"] == what and "level" in row]
        text = f"mean coverage {np.mean(coverages):.3f}, least {min(coverages):.3f}" if coverages else ""
        yield f"{what}: {text}" + (f" level {min(levels):.3f} to {max(levels):.3f}" if levels else "")


def main(arguments: list[str] | None = None) -> int:
    """Print one line per population and a summary, as text or as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000, help="samples per population")
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="parts to run")
    chosen = parser.parse_args(arguments)
    print(json.dumps({**machine(), **moment(), "repeats": chosen.repeats, "flips": N_FLIPS, "resamples": N_RESAMPLES}))
    rows: list[Row] = []
    for name in chosen.only or PARTS:
        for row in PARTS[name](chosen.repeats):
            rows.append(row)
            print(json.dumps({key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()}), flush=True)
    print("\n".join(summary(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
