"""Differences by language that borrow strength from each other: partial pooling over the languages outside English."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from mlprune.evaluation.inference.aggregates import contributions_of
from mlprune.evaluation.inference.estimates import LEVEL, Difference
from mlprune.evaluation.inference.language_sums import LanguageGroup, LanguageSums
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.partial_pooling import FEWEST_GROUPS, Pooled, partial_pooling


@dataclass(frozen=True)
class PooledLanguages:
    """The model of one metric over some languages."""

    languages: tuple[str, ...]
    differences: Array
    """[L], as compared."""
    errors: Array
    """[L] standard errors in the model."""
    pooled: Pooled


def pool_languages(
    sums: LanguageSums, group: LanguageGroup, differences: Mapping[str, Difference]
) -> PooledLanguages | None:
    """Pool the differences of a group of languages; None for fewer than three, or if an interval is not finite.

    A language's error is the width of its 95 % interval divided by 2 * 1.96, which is not 0 where nothing changed. The
    errors of two languages are correlated as the residuals of their clusters are: contribution - difference * size.

    Args:
        differences: language -> its difference.
    """
    compared = [differences[language] for language in group.languages]
    values = np.array([each.difference for each in compared])
    errors = np.array([each.interval.width for each in compared]) / (2 * special.ndtri((1 + LEVEL) / 2))
    if len(values) < FEWEST_GROUPS or not np.isfinite(errors).all() or not errors.all():
        return None
    covariance = np.outer(errors, errors) * _correlations(sums, group.languages)
    return PooledLanguages(group.languages, values, errors, partial_pooling(values, covariance, level=LEVEL))


def _correlations(sums: LanguageSums, languages: Sequence[str]) -> Array:
    """Return [L, L]; a language whose residuals are all 0 is correlated with none."""
    residuals = np.zeros((sums.n_clusters, len(languages)))
    for index, language in enumerate(languages):
        part = contributions_of(sums, LanguageGroup("language", language, (language,)))
        residuals[:, index] = part.contributions - part.contributions.sum() * part.sizes
    norms = np.sqrt((residuals**2).sum(axis=0))
    correlations = residuals.T @ residuals / np.outer(*[np.where(norms > 0, norms, 1.0)] * 2)
    np.fill_diagonal(correlations, 1.0)
    return np.asarray(correlations)
