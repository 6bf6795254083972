"""Agreement between languages on which units matter: rank correlation of their losses over the units."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from mlprune.evaluation.inference.language_sums import LanguageSums, resampled_values
from mlprune.numeric.evaluation.rank_correlation import LEAST_UNITS, RankAgreement, rank_agreement
from mlprune.numeric.statistics.clusters import Array


class LanguagePair(NamedTuple):
    """Agreement of two languages; None if all units have the same loss in one of them."""

    language: str
    other_language: str
    agreement: RankAgreement | None


def language_agreement(units: Sequence[LanguageSums]) -> Iterator[LanguagePair]:
    """Yield each pair of languages, in alphabetical order, with the agreement of their losses over the units.

    The 1,999 resamples of clusters (seed 0) are those of all units and languages; resamples in which a language has no
    item are left out. Nothing is yielded for fewer than three units.

    Args:
        units: sums of the probe (first) and of dense (second) of every unit, over the same clusters.
    """
    if len(units) < LEAST_UNITS:
        return
    languages = units[0].languages
    measured = np.stack([_losses(unit, unit.observed.first, unit.observed.second) for unit in units])
    resampled = np.stack([_resampled(unit) for unit in units], axis=1)
    resampled = resampled[np.isfinite(resampled).all(axis=(1, 2))]
    for first, second in combinations(range(len(languages)), 2):
        sides = [first, second]
        agreement = rank_agreement(measured[:, sides], resampled[..., sides]) if len(resampled) else None
        yield LanguagePair(languages[first], languages[second], agreement)


def _resampled(unit: LanguageSums) -> Array:
    """Return the losses of a unit in each resample, [R, languages]."""
    return _losses(unit, resampled_values(unit.metric, unit.first), resampled_values(unit.metric, unit.second))


def _losses(unit: LanguageSums, first: Array, second: Array) -> Array:
    """Return losses from values, all [..., languages]; not a number without an item."""
    sign = -1.0 if unit.metric.higher_is_better else 1.0
    return np.asarray(sign * (first - second))
