"""Differences on test between a candidate chosen on dev and the dense model, by the methods of comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mlprune.evaluation.inference.aggregates import Aggregate, aggregate
from mlprune.evaluation.inference.estimates import Difference, finite
from mlprune.evaluation.inference.language_groups import LanguageGroup
from mlprune.evaluation.inference.language_sums import language_sums
from mlprune.evaluation.inference.methods import compare
from mlprune.evaluation.task_metrics import Metric
from mlprune.json_values import JsonValue
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.results import StoredPredictions, on_shared_items, predictions_of
from mlprune.store.store import Store

Evaluations = Mapping[str, EvaluationSpec]
"""Language -> evaluation of one candidate."""


@dataclass(frozen=True)
class TestSplit:
    """The evaluations of the dense model on test, and the metric of each language."""

    __test__ = False
    store: Store
    metrics: Mapping[str, Metric]
    baseline: Evaluations

    @cached_property
    def _of_baseline(self) -> Mapping[str, StoredPredictions]:
        """Language -> predictions of the dense model, which every chosen candidate is compared with."""
        return {language: predictions_of(self.store, evaluation) for language, evaluation in self.baseline.items()}

    def difference(self, group: LanguageGroup, variant: Evaluations) -> Difference | Aggregate | None:
        """Return the difference of a variant in a group of languages; None if it lacks one of them on test.

        The clusters are those of all languages in which both were evaluated, as in the record of their comparison.
        """
        languages = sorted(variant.keys() & self.baseline.keys())
        if not set(group.languages) <= set(languages):
            return None
        if group.kind == "language":
            metric = self.metrics[group.name]
            return compare([metric], *self._predictions(group.name, variant))[metric.name]
        predictions = {language: self._predictions(language, variant) for language in languages}
        sums = language_sums({language: self.metrics[language] for language in languages}, predictions)
        return aggregate(sums, [group])[0]

    def _predictions(self, language: str, variant: Evaluations) -> tuple[StoredPredictions, StoredPredictions]:
        predictions = predictions_of(self.store, variant[language])
        return on_shared_items(variant[language].task, predictions, self._of_baseline[language])


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
