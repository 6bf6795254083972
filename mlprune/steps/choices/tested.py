"""Differences on test between a candidate chosen on dev and the dense model, by the methods of comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlprune.evaluation.inference.aggregates import Aggregate, aggregate
from mlprune.evaluation.inference.estimates import Difference, finite
from mlprune.evaluation.inference.language_groups import LanguageGroup
from mlprune.evaluation.inference.language_sums import language_sums
from mlprune.evaluation.inference.methods import compare
from mlprune.evaluation.task_metrics import Metric
from mlprune.json_values import JsonValue
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.results import predictions_of
from mlprune.store.store import Store

Evaluations = Mapping[str, EvaluationSpec]
"""Language -> evaluation of one candidate."""


@dataclass(frozen=True)
class TestSplit:
    """The evaluations of a task on test, and the metric of each language."""

    __test__ = False
    metrics: Mapping[str, Metric]

    def difference(
        self, store: Store, group: LanguageGroup, *, variant: Evaluations, baseline: Evaluations
    ) -> Difference | Aggregate | None:
        """Return the difference of a variant in a group of languages; None if it lacks one of them on test.

        The clusters are those of all languages in which both were evaluated, as in the record of their comparison.
        """
        languages = sorted(variant.keys() & baseline.keys())
        if not set(group.languages) <= set(languages):
            return None
        if group.kind == "language":
            return self._of_language(store, group.name, variant[group.name], baseline[group.name])
        predictions = {
            language: (predictions_of(store, variant[language]), predictions_of(store, baseline[language]))
            for language in languages
        }
        sums = language_sums({language: self.metrics[language] for language in languages}, predictions)
        return aggregate(sums, [group])[0]

    def _of_language(
        self, store: Store, language: str, variant: EvaluationSpec, baseline: EvaluationSpec
    ) -> Difference:
        metric = self.metrics[language]
        return compare([metric], predictions_of(store, variant), predictions_of(store, baseline))[metric.name]


def tested_columns(difference: Difference | Aggregate | None) -> dict[str, JsonValue]:
    """Return the columns of a chosen candidate's difference to dense; NULL without one."""
    if difference is None:
        return dict.fromkeys(TESTED)
    n_items = difference.n if isinstance(difference, Difference) else difference.n_items
    values: Sequence[JsonValue] = (
        difference.difference,
        finite(difference.interval.low),
        finite(difference.interval.high),
        difference.method,
        difference.standard_error,
        difference.p_value,
        difference.test,
        n_items,
        difference.n_clusters,
    )
    return dict(zip(TESTED, values, strict=True))


TESTED = (
    "difference", "ci_low", "ci_high", "interval", "standard_error", "p_value", "test", "n_items", "n_clusters",
)  # fmt: skip
"""Columns of a difference on test."""
