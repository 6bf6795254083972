"""Jobs of step `compare` on predictions: paired differences to a baseline. They run no model."""

from dataclasses import dataclass
from typing import ClassVar, cast

from mlprune.evaluation.bootstrap import compare
from mlprune.evaluation.task_metrics import task_metrics
from mlprune.json_values import JsonValue
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.evaluation.significance import holm
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.protocol import profile_column
from mlprune.steps.evaluate.results import predictions_of
from mlprune.steps.job import ChainLoader, RecordJob, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.store.store import Store


@dataclass(frozen=True)
class CompareJob(RecordJob):
    """Compare a variant with a baseline on one task and split; the languages are the family of Holm's correction."""

    step: ClassVar[str] = "compare"
    variant_id: str
    baseline_id: str
    pairs: tuple[tuple[EvaluationSpec, EvaluationSpec], ...]
    """(evaluation of the variant, evaluation of the baseline) for each language."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """All evaluations."""
        return tuple(evaluation.identity.key for pair in self.pairs for evaluation in pair)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of a small job."""
        return JobCost(self.step)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compare each language, then correct the p-values of each metric."""
        rows = [row for evaluation, baseline in self.pairs for row in self._rows(store, evaluation, baseline)]
        for metric in dict.fromkeys(row["metric"] for row in rows):
            family = [row for row in rows if row["metric"] == metric]
            for row, adjusted in zip(family, holm([cast("float", row["p_value"]) for row in family]), strict=True):
                row["p_holm"] = adjusted
        store.write_record(self.identity.record(rows={"comparisons": rows}))

    def _rows(self, store: Store, evaluation: EvaluationSpec, baseline: EvaluationSpec) -> list[dict[str, JsonValue]]:
        """Rows of one language, one per metric."""
        spec = evaluation.task
        first, second = predictions_of(store, evaluation), predictions_of(store, baseline)
        rows: list[dict[str, JsonValue]] = []
        for metric in task_metrics(spec.definition, spec.target_language, names=spec.metrics):
            difference = compare(metric, first, second)
            row: dict[str, JsonValue] = {
                "comparison_id": self.identity.id,
                "variant_id": self.variant_id,
                "baseline_id": self.baseline_id,
                "evaluation_id": evaluation.identity.id,
                "baseline_evaluation_id": baseline.identity.id,
                "task": spec.task,
                "language": spec.language,
                "split": spec.split,
                "metric": metric.name,
                "difference": difference.difference,
                "ci_low": difference.ci_low,
                "ci_high": difference.ci_high,
                "p_value": difference.p_value,
                **profile_column(spec.profile),
            }
            rows.append(row)
        return rows
