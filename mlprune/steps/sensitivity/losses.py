"""Losses of a unit in every language and group of languages: paired differences of its probe to the dense model.

A loss is positive if the probe is worse: dense minus probe for metrics of which higher values are better, otherwise
probe minus dense; for perplexity ln(perplexity of the probe / perplexity of dense). Values, intervals and tests are
those of `comparison_results` (one language) and `aggregate_results` (groups), with the sign turned where it must be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlprune.evaluation.inference.aggregates import AGGREGATED, Aggregate, aggregate, contributions_of
from mlprune.evaluation.inference.estimates import Difference, finite
from mlprune.evaluation.inference.language_groups import LanguageGroup, language_groups
from mlprune.evaluation.inference.language_sums import LanguageSums, language_sums
from mlprune.evaluation.inference.methods import compare
from mlprune.evaluation.inference.samples import HasItems, flips_of
from mlprune.evaluation.task_metrics import Metric
from mlprune.json_values import JsonValue
from mlprune.numeric.statistics.multiplicity import max_t_p_values

Row = dict[str, JsonValue]
Predictions = Mapping[str, HasItems]
"""Language -> predictions."""


@dataclass(frozen=True)
class UnitLosses:
    """Losses of one unit."""

    sums: LanguageSums
    """Statistics of the probe and of dense, per cluster."""
    losses: Mapping[LanguageGroup, Difference | Aggregate]
    """Differences of the probe to dense; groups of kind `language` are single languages."""


def measured_groups(metric: str, main_languages: Mapping[str, str]) -> list[LanguageGroup]:
    """Return the languages, then the groups over which the metric is compared, without gaps.

    Args:
        metric: its name.
        main_languages: evaluated language or pair -> the language by which it belongs to groups.
    """
    alone = [LanguageGroup("language", language, (language,)) for language in sorted(main_languages)]
    together = language_groups(main_languages) if metric in AGGREGATED else []
    return [*alone, *(group for group in together if group.kind != "gap")]


def unit_losses(
    metrics: Mapping[str, Metric], probe: Predictions, dense: Predictions, *, groups: Sequence[LanguageGroup]
) -> UnitLosses:
    """Compare a probe with dense.

    Args:
        metrics: language -> the metric.
        groups: of `measured_groups`.
    Raises:
        ShapeError: probe and dense are not about the same items.
    """
    sums = language_sums(metrics, {language: (probe[language], dense[language]) for language in metrics})
    together = [group for group in groups if group.kind != "language"]
    of_group: dict[LanguageGroup, Difference | Aggregate] = {}
    for group in groups:
        if group.kind == "language":
            metric = metrics[group.name]
            of_group[group] = compare([metric], probe[group.name], dense[group.name])[metric.name]
    of_group |= dict(zip(together, aggregate(sums, together), strict=True))
    return UnitLosses(sums, of_group)


def corrected_p_values(units: Sequence[UnitLosses], group: LanguageGroup) -> list[float]:
    """Return p-values of a group, corrected over the units: max-T, at least those of the single tests.

    All units share the clusters and the sign vectors (`max_t_p_values`). Contributions of clusters are those of
    `contributions_of`.
    """
    parts = [contributions_of(unit.sums, group) for unit in units]
    contributions, sizes = (
        np.stack(columns, axis=1)
        for columns in ([part.contributions for part in parts], [part.sizes for part in parts])
    )
    corrected = max_t_p_values(contributions, sizes.max(axis=1), flips_of(len(sizes)))
    single = [unit.losses[group].p_value for unit in units]
    return [float(p_value) for p_value in np.maximum(corrected, single)]


def loss_columns(metric: Metric, difference: Difference | Aggregate) -> Row:
    """Return the columns on the loss of one language or group."""
    sign = -1 if metric.higher_is_better else 1
    ends = (difference.interval.low, difference.interval.high)
    low, high = ends if sign > 0 else (-ends[1], -ends[0])
    return {
        "loss": sign * difference.difference + 0.0,
        "scale": difference.scale,
        "ci_low": finite(low),
        "ci_high": finite(high),
        "interval": difference.method,
        "standard_error": difference.standard_error,
        "p_value": difference.p_value,
        "test": difference.test,
        "n_items": difference.n if isinstance(difference, Difference) else difference.n_items,
        "n_clusters": difference.n_clusters,
    }
