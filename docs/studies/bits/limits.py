"""Compare what rounding costs a model of full precision and the same model as read from a published file.

    python docs/studies/bits/limits.py STORE

The store has the recipes bits (full precision), bits-q4 and bits-q5 (published). Declared before the run: the cost of
a variant in a language is the rise of its log perplexity above that of the dense model of the same source, the mean
over draws. For each method, the table has the mean cost over the languages from full precision, that from the file, and
their ratio; and for each number of bits the share of the cost of rounding to nearest that GPTQ saves, from both.
Intervals (95 %, percentiles) resample the sentences 2,000 times, the same ones for both sources and all variants of a
language. A ratio of 1 means that such a file does not limit what can be said. Changed after the first run: each
resample also draws the texts of GPTQ again, for each source, because the five draws differ more than was expected.
"""

import csv
import sys
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

import mlprune
from mlprune.api import OpenStore

VARIANTS = """
SELECT n.recipe, n.name, n.id AS variant_id, v.base_model_id
FROM names AS n JOIN described_variants AS v ON v.variant_id = n.id
WHERE n.kind = 'variant' AND NOT v.is_dense
ORDER BY ALL
"""
EVALUATIONS = (
    "SELECT variant_id, base_model_id, is_dense, language, evaluation_id FROM measured WHERE metric = 'perplexity'"
)
N_RESAMPLES = 2_000
FULL, METHODS = "bits", ("nearest", "mix", "nearest-3-bits", "mix-3-bits")
Array = NDArray[np.float64]


def cost(variant: Array, dense: Array, weights: Array) -> Array:
    """Return the rise of log perplexity under each weighting of the sentences.

    Args:
        variant: [2, sentences], log-likelihoods and numbers of tokens.
        dense: likewise.
        weights: [weightings, sentences].
    """
    totals = [weights @ scores.T for scores in (variant, dense)]
    rises: Array = totals[1][:, 0] / totals[1][:, 1] - totals[0][:, 0] / totals[0][:, 1]
    return rises


def mean_costs(store: OpenStore) -> dict[str, dict[str, Array]]:
    """Return recipe -> method -> mean cost over draws and languages, first of all items, then of each resample."""
    scores: dict[tuple[str, str], Array] = {}
    for row in store.sql(EVALUATIONS):
        found = store.predictions(row["evaluation_id"])
        values = np.array([found["log_likelihood"], found["n_tokens"]], dtype=np.float64)
        key = row["base_model_id"] if row["is_dense"] else row["variant_id"]
        scores[key, row["language"]] = values[:, np.argsort(found["example_id"])]
    languages = sorted({language for _, language in scores})
    generator = np.random.Generator(np.random.PCG64(0))
    sentences = resamples(generator, next(iter(scores.values())).shape[1])
    rises: dict[tuple[str, str], list[Array]] = {}
    for row in store.sql(VARIANTS):
        variant, dense = row["variant_id"], row["base_model_id"]
        of_languages = [cost(scores[variant, name], scores[dense, name], sentences) for name in languages]
        rises.setdefault((row["recipe"], row["name"]), []).append(np.mean(of_languages, axis=0))
    costs: dict[str, dict[str, Array]] = {}
    for (recipe, name), of_draws in rises.items():
        draws = resamples(generator, len(of_draws))
        costs.setdefault(recipe, {})[name] = (np.array(of_draws) * draws.T).sum(axis=0) / len(of_draws)
    return costs


def resamples(generator: np.random.Generator, n: int) -> Array:
    """Return how often each of n things counts: all once, then in each resample; [1 + resamples, n]."""
    drawn = generator.multinomial(n, [1 / n] * n, N_RESAMPLES)
    return np.vstack([np.ones(n), drawn]).astype(np.float64)


def estimates(costs: Mapping[str, Mapping[str, Array]]) -> dict[tuple[str, str], Array]:
    """Return (source, number) -> its value of all sentences and of each resample."""
    found = {}
    for recipe, of in sorted(costs.items()):
        for name in METHODS:
            found[recipe, f"cost of {name}"] = of[name]
            if recipe != FULL:
                found[recipe, f"ratio of the cost of {name}"] = of[name] / costs[FULL][name]
        for bits, (nearest, gptq) in {4: METHODS[:2], 3: METHODS[2:]}.items():
            found[recipe, f"saved by gptq at {bits} bits"] = 1 - of[gptq] / of[nearest]
    return found


def main(path: str) -> None:
    """Print the table."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["source", "number", "value", "ci_low", "ci_high"])
    for (recipe, number), values in estimates(mean_costs(mlprune.open(path))).items():
        low, high = np.quantile(values[1:], [0.025, 0.975])
        table.writerow([recipe, number, *(f"{value:.3f}" for value in (values[0], low, high))])


if __name__ == "__main__":
    main(*sys.argv[1:])
