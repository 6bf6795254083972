"""Test whether the distance from the dense model predicts the accuracy that a language loses, and shows it earlier.

    python docs/studies/distance/predicts.py STORE

Declared before the run of infra/recipes/distance.yaml. A language counts if the 95 % interval of the dense accuracy on
dev lies above chance. In it, a variant has a loss (dense minus its accuracy on the facts of test) and three predictors:
its divergence on the texts of test, the rise of its log perplexity there, and its sparsity.

- `rank`: Spearman's correlation of predictor and loss over the variants.
- `skill`: out of sample. The variants of one entry of the recipe are left out; isotonic regression of the loss on the
  predictor of all others predicts theirs. 1 minus the mean absolute error, divided by that of predicting the mean loss
  of the others; the mean over the entries. 1 is perfect, and 0 is no better than the mean.
- Both are means over the languages. Intervals (95 %, percentiles) resample clusters of facts, and sentences, 1,000
  times, the same ones for all variants. They hold for these variants.
- The divergence predicts if its skill lies above 0, and more than perplexity does if the difference of their skills
  lies above 0.
- `earlier`: of all pairs of variants of two entries with equal sparsity that the recipe compares, the share whose
  difference in a metric is significant (corrected p below 0.05), by sparsity. The divergence is earlier if it has the
  larger share than accuracy at the lowest sparsity at which one of them has a share of at least a half. Against dense
  it is always above 0, which says nothing.
"""

import csv
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import rankdata

import mlprune
from mlprune.api import OpenStore

Array = NDArray[np.float64]
N_RESAMPLES = 1_000
KNOWN = """
SELECT language FROM metrics JOIN described_variants USING (variant_id)
WHERE is_dense AND task = 'facts' AND split = 'dev' AND metric = 'accuracy' AND ci_low > chance
ORDER BY language
"""
EVALUATIONS = """
SELECT DISTINCT m.evaluation_id, m.variant_id, m.is_dense, m.sparsity, m.task, m.language, n.name
FROM measured AS m LEFT JOIN names AS n ON n.kind = 'variant' AND n.id = m.variant_id
WHERE m.split = 'test'
ORDER BY m.is_dense DESC, n.name, m.sparsity, m.variant_id
"""
EARLIER = """
SELECT d.metric, d.sparsity, avg((d.p_corrected < 0.05)::INTEGER) AS share, count(*) AS n
FROM differences AS d
WHERE NOT d.baseline_is_dense AND d.split = 'test' AND list_contains($languages, d.language)
    AND d.metric IN ('divergence', 'perplexity', 'accuracy')
GROUP BY ALL ORDER BY d.metric, d.sparsity
"""


class Measured(NamedTuple):
    """All variants in one language; the first row of each table is that of the dense model."""

    entries: list[str]
    """Name of each variant's entry."""
    sparsity: Array
    """[variants]"""
    texts: Array
    """[variants, 3, sentences]: sums of divergence, log-likelihoods and numbers of tokens."""
    facts: Array
    """[variants, clusters]: right answers."""
    n_facts: Array
    """[clusters]"""


def read(store: OpenStore, language: str) -> Measured:
    """Read the variants that were evaluated on the texts and on the facts of test."""
    found: dict[str, dict[str, Array]] = {}
    about: dict[str, tuple[str, float]] = {}
    for row in store.sql(EVALUATIONS):
        if row["language"] == language:
            about[row["variant_id"]] = ("dense" if row["is_dense"] else row["name"], row["sparsity"])
            table = store.predictions(row["evaluation_id"]).pl().sort("example_id")
            if row["task"] == "perplexity":
                values = table.select("divergence", "log_likelihood", "n_tokens").to_numpy().T
            else:
                best = table.filter(table["rank"] == 1).group_by("cluster", "example_id").agg(right="is_gold")
                right = best.select("cluster", right=best["right"].list.mean()).group_by("cluster").sum()
                n_facts = table.group_by("cluster").agg(n=table["example_id"].n_unique()).sort("cluster")
                values = right.sort("cluster")["right"].to_numpy()
            found.setdefault(row["variant_id"], {})[row["task"]] = values.astype(np.float64)
    both = [variant for variant, of in found.items() if len(of) == 2]
    return Measured(
        [about[variant][0] for variant in both],
        np.array([about[variant][1] for variant in both]),
        np.array([found[variant]["perplexity"] for variant in both]),
        np.array([found[variant]["facts"] for variant in both]),
        n_facts["n"].to_numpy().astype(np.float64),
    )


def ranks_correlate(first: Array, second: Array) -> float:
    """Return Spearman's correlation."""
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def skill(predictor: Array, loss: Array, entries: Array) -> float:
    """Return how much better than the mean of the other entries the predictor is, out of sample."""
    skills = []
    for entry in sorted(set(entries)):
        held = entries == entry
        values, place, counts = np.unique(predictor[~held], return_inverse=True, return_counts=True)
        means = np.bincount(place, loss[~held]) / counts
        fitted = isotonic_regression(means, weights=counts.astype(np.float64)).x
        expected = np.interp(predictor[held], values, fitted)
        error, of_mean = (np.abs(guess - loss[held]).mean() for guess in (expected, loss[~held].mean()))
        skills.append(1 - error / of_mean)
    return float(np.mean(skills))


def statistics(measured: Measured, of_sentences: Array, of_clusters: Array) -> Mapping[str, float]:
    """Return the statistics of a language.

    Args:
        of_sentences: [sentences], how often each counts.
        of_clusters: [clusters], likewise.
    """
    divergence, likelihood, n_tokens = np.moveaxis(measured.texts @ of_sentences, 1, 0) / of_sentences.mean()
    right = measured.facts @ of_clusters / (measured.n_facts @ of_clusters)
    surprise = -likelihood / n_tokens
    loss, entries = (right[0] - right)[1:], np.array(measured.entries[1:])
    predictors = {
        "divergence": (divergence / n_tokens)[1:],
        "perplexity": (surprise - surprise[0])[1:],
        "sparsity": measured.sparsity[1:],
    }
    found = {f"rank {name}": ranks_correlate(values, loss) for name, values in predictors.items()}
    found |= {f"skill {name}": skill(values, loss, entries) for name, values in predictors.items()}
    return found | {"skill divergence - perplexity": found["skill divergence"] - found["skill perplexity"]}


def resampled(measured: Mapping[str, Measured]) -> Iterator[dict[str, dict[str, float]]]:
    """Yield statistic -> language -> value: of all items, then of each resample."""
    generator = np.random.Generator(np.random.PCG64(0))
    for number in range(N_RESAMPLES + 1):
        found: dict[str, dict[str, float]] = {}
        for language, of in measured.items():
            sizes = of.texts.shape[2], len(of.n_facts)
            drawn = [generator.multinomial(size, [1 / size] * size) if number else np.ones(size) for size in sizes]
            for name, value in statistics(of, *(weights.astype(np.float64) for weights in drawn)).items():
                found.setdefault(name, {})[language] = value
        yield found


def main(path: str) -> None:
    """Print the table: each statistic by language and as their mean, and the shares by metric and sparsity."""
    store = mlprune.open(path)
    languages = store.sql(KNOWN)["language"]
    found = list(resampled({language: read(store, language) for language in languages}))
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["number", "language", "value", "ci_low", "ci_high"])
    for name in found[0]:
        for language in (*languages, "mean"):
            values = [np.mean(list(one[name].values())) if language == "mean" else one[name][language] for one in found]
            table.writerow(
                [name, language, *(f"{v:.3f}" for v in (values[0], *np.quantile(values[1:], [0.025, 0.975])))]
            )
    for row in store.sql(EARLIER, languages=languages):
        table.writerow([f"earlier {row['metric']} {row['sparsity']}", "all", f"{row['share']:.3f}", "", ""])


if __name__ == "__main__":
    main(*sys.argv[1:])
