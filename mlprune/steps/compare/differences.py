"""Paired differences of a variant to a baseline, from predictions. They run no model.

File of contributions: what each cluster of items adds to the difference of each group of languages.

With it, tests over many variants (max-T) draw the same signs for the same clusters.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from mlprune.evaluation.inference.aggregates import AGGREGATED, Aggregate, Contributions, aggregate, contributions_of
from mlprune.evaluation.inference.estimates import Difference, interval_columns
from mlprune.evaluation.inference.language_sums import LanguageGroup, LanguageSums, language_groups, language_sums
from mlprune.evaluation.inference.methods import compare
from mlprune.evaluation.inference.pooled_languages import pool_languages
from mlprune.evaluation.task_metrics import Metric
from mlprune.json_values import Row
from mlprune.languages import ENGLISH
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.declared_job import DeclaredJob, Evaluations
from mlprune.steps.evaluate.results import StoredPredictions, metrics_of, on_shared_items, predictions_of
from mlprune.steps.job import ChainLoader, JobCost, SetSizes
from mlprune.steps.tasks.evaluation import EvaluationSpec, task_data
from mlprune.steps.tasks.task_spec import TaskSpec, profile_column
from mlprune.store.parquet import Columns
from mlprune.store.records import Artefact
from mlprune.store.store import Store

CONTRIBUTIONS_SCHEMA = {
    "metric": "string",
    "group_kind": "string",
    "group_name": "string",
    "cluster": "string",
    "contribution": "double",
    "size": "double",
}
"""Columns of a contributions file. The groups are those of `aggregate_results` without gaps, and each language
(group_kind `language`). Clusters have the same order in all groups of a metric. The contributions of a group add up to
its difference and the sizes to 1; see `Contributions`."""
DRAW_BYTES = 30_000
"""Memory per cluster: signs of one byte and counts of two bytes, for the two last numbers of clusters."""
MANY_ITEMS = 5_010
"""Items of a split without a limit: those of the test split of XNLI."""


def contribution_columns(parts: Sequence[tuple[str, Contributions]]) -> Columns:
    """Return the columns of a contributions file, from (metric, contributions of one group)."""
    columns: dict[str, list[object]] = {name: [] for name in CONTRIBUTIONS_SCHEMA}
    for metric, part in parts:
        n = len(part.clusters)
        columns["metric"] += [metric] * n
        columns["group_kind"] += [part.group.kind] * n
        columns["group_name"] += [part.group.name] * n
        columns["cluster"] += part.clusters
        columns["contribution"] += part.contributions.tolist()
        columns["size"] += part.sizes.tolist()
    return columns


def comparison_row(metric: str, difference: Difference, *, evaluation: EvaluationSpec, baseline: EvaluationSpec) -> Row:
    """Return the columns of one comparison that are not equal in the whole record."""
    return {
        "evaluation_id": evaluation.identity.id,
        "baseline_evaluation_id": baseline.identity.id,
        "metric": metric,
        **difference.columns,
        "p_mid_mcnemar": difference.p_mid_mcnemar,
        "n": difference.n_items,
        "n_gained": difference.n_gained,
        "n_lost": difference.n_lost,
        **evaluation.task.columns,
        **profile_column(evaluation.task.profile),
    }


def aggregate_row(metric: str, aggregate: Aggregate, *, specs: Mapping[str, TaskSpec]) -> Row:
    """Return the columns of one group of languages that are not equal in the whole record.

    Args:
        specs: language -> the variant's evaluation.
    """
    worst, baseline_worst = aggregate.worst or (None, None)
    return {
        "metric": metric,
        "n_items": aggregate.n_items,
        "value": aggregate.value,
        "baseline_value": aggregate.baseline_value,
        "worst_language": worst,
        "baseline_worst_language": baseline_worst,
        **aggregate.columns,
        "n_flips": aggregate.n_flips,
        **group_columns(aggregate.group, specs),
    }


def group_columns(group: LanguageGroup, specs: Mapping[str, TaskSpec]) -> Row:
    """Return the columns on a group of languages and on how its evaluations were made.

    Args:
        specs: language -> the variant's evaluation.
    """
    spec = specs[group.languages[0]]
    prompt_languages = {specs[language].prompt_language for language in group.languages}
    return {
        "group_kind": group.kind,
        "group_name": group.name,
        "languages": " ".join(group.languages),
        "n_languages": len(group.languages),
        **spec.family_columns,
        "prompt_language": prompt_languages.pop() if len(prompt_languages) == 1 else None,
        **profile_column(spec.profile),
    }


@dataclass(frozen=True)
class Compared:
    """The evaluations of one language with their predictions and metrics."""

    evaluation: EvaluationSpec
    baseline: EvaluationSpec
    predictions: tuple[StoredPredictions, StoredPredictions]
    metrics: tuple[Metric, ...]

    @property
    def spec(self) -> TaskSpec:
        """The variant's evaluation."""
        return self.evaluation.task

    def metric(self, name: str) -> Metric:
        """The metric of this name."""
        return next(metric for metric in self.metrics if metric.name == name)


@dataclass(frozen=True)
class CompareJob(DeclaredJob):
    """Compare a variant with a baseline on one task and split: in each language, and over groups of languages."""

    kind: ClassVar[str] = "comparisons"
    step: ClassVar[str] = "compare"
    planned_cpu_s: ClassVar[float] = 0.2
    evaluations: Annotated[tuple[EvaluationSpec, ...], Evaluations("evaluations")]
    """Those of the variant, one for each language."""
    baseline_evaluations: Annotated[tuple[EvaluationSpec, ...], Evaluations("baseline_evaluations")]
    """Those of the baseline in the same languages, in the same order."""

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[EvaluationSpec, EvaluationSpec]]) -> "CompareJob":
        """Return the job of some pairs, the evaluation of the variant first."""
        return cls(*(tuple(side) for side in zip(*pairs, strict=True)))

    @property
    def pairs(self) -> tuple[tuple[EvaluationSpec, EvaluationSpec], ...]:
        """(evaluation of the variant, evaluation of the baseline) for each language."""
        return tuple(zip(self.evaluations, self.baseline_evaluations, strict=True))

    @property
    def variant_id(self) -> str:
        """The variant."""
        return self.evaluations[0].variant_id

    @property
    def baseline_id(self) -> str:
        """The baseline."""
        return self.baseline_evaluations[0].variant_id

    @property
    def family(self) -> TaskSpec:
        """The task without a language."""
        return self.evaluations[0].task.family

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of the signs and resamples of all clusters."""
        limits = [most_items(evaluation.task) for evaluation, _ in self.pairs]
        return JobCost.small(self.step, DRAW_BYTES * max(limits))

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compare the languages one by one, then in groups."""
        compared = [read_pair(store, evaluation, baseline) for evaluation, baseline in self.pairs]
        groups = language_groups({each.spec.language: main_language(each.spec) for each in compared})
        sums = _language_sums(compared)
        specs = {each.spec.language: each.spec for each in compared}
        differences = {each.spec.language: compare(each.metrics, *each.predictions) for each in compared}
        rows = {
            "comparison_results": [
                comparison_row(name, difference, evaluation=each.evaluation, baseline=each.baseline)
                for each in compared
                for name, difference in differences[each.spec.language].items()
            ],
            "aggregate_results": [
                aggregate_row(name, result, specs=specs)
                for name, of_metric in sums.items()
                for result in aggregate(of_metric, groups)
            ],
            "pooled_languages": [
                row
                for name, of_metric in sums.items()
                for group in groups
                if group.kind == "outside_english"
                for row in _pooled_rows(name, of_metric, group, differences=differences, compared=compared)
            ],
        }
        keys: Row = {"comparison_id": self.identity.id, "variant_id": self.variant_id, "baseline_id": self.baseline_id}
        artefact = self._write_contributions(store, sums, groups)
        with_keys = {table: [{**keys, **row} for row in of_table] for table, of_table in rows.items()}
        store.write_record(self.identity.record(artefacts=(artefact,), rows=with_keys))

    def _write_contributions(
        self, store: Store, sums: Mapping[str, LanguageSums], groups: Sequence[LanguageGroup]
    ) -> Artefact:
        """Write the contributions to each group and to each language."""
        parts = [
            (name, contributions_of(of_metric, group))
            for name, of_metric in sums.items()
            for group in (
                *(group for group in groups if group.kind != "gap"),  # gaps follow from the other groups
                *(LanguageGroup("language", one, (one,)) for one in of_metric.languages),
            )
        ]
        path = f"contributions/{self.identity.id}.parquet"
        return store.write_table(path, contribution_columns(parts), CONTRIBUTIONS_SCHEMA)


def most_items(task: TaskSpec) -> int:
    """Return the most items of a task that its limit keeps; for a large limit, as many as there are."""
    limit = task.limit or MANY_ITEMS
    is_readable = bool(task.folder or task.hub or task.corpus)
    return limit if limit <= MANY_ITEMS or not is_readable else min(limit, max(MANY_ITEMS, len(task_data(task).items)))


def main_language(spec: TaskSpec) -> str:
    """Return the language by which an evaluation belongs to groups: of a pair, the one other than English."""
    others = [side for side in spec.sides if side != ENGLISH]
    return others[-1] if others else spec.language


def read_pair(store: Store, evaluation: EvaluationSpec, baseline: EvaluationSpec) -> Compared:
    """Read the predictions of two evaluations on the items that both have."""
    spec = evaluation.task
    predictions = on_shared_items(spec, predictions_of(store, evaluation), predictions_of(store, baseline))
    return Compared(evaluation, baseline, predictions, metrics_of(spec, *predictions))


def _pooled_rows(
    metric: str,
    sums: LanguageSums,
    group: LanguageGroup,
    *,
    differences: Mapping[str, Mapping[str, Difference]],
    compared: Sequence[Compared],
) -> list[Row]:
    """Return the rows of the model of one metric over the languages of a group; none if it has too few.

    Args:
        differences: language -> metric -> difference.
    """
    model = pool_languages(sums, group, {language: of[metric] for language, of in differences.items()})
    if model is None:
        return []
    pooled = model.pooled
    of_model: Row = {
        "metric": metric,
        "scale": differences[group.languages[0]][metric].scale,
        "n_languages": len(model.languages),
        "mean": pooled.mean,
        **interval_columns("mean_ci", pooled.mean_interval),
        **interval_columns("new_language_ci", pooled.new_interval),
        "deviation": pooled.deviation,
        **interval_columns("deviation_ci", pooled.deviation_interval),
    }
    pairs = {each.spec.language: each for each in compared}
    return [
        {
            **of_model,
            "evaluation_id": pairs[language].evaluation.identity.id,
            "baseline_evaluation_id": pairs[language].baseline.identity.id,
            "task": pairs[language].spec.task,
            "language": language,
            "split": pairs[language].spec.split,
            "difference": float(model.differences[index]),
            "error": float(model.errors[index]),
            "pooled": float(pooled.effects[index]),
            **interval_columns("pooled_ci", pooled.intervals[index]),
        }
        for index, language in enumerate(model.languages)
    ]


def _language_sums(compared: Sequence[Compared]) -> dict[str, LanguageSums]:
    """Return the sums of each metric that is compared over groups of languages."""
    predictions = {each.spec.language: each.predictions for each in compared}
    names = [metric.name for metric in compared[0].metrics if metric.name in AGGREGATED]
    return {
        name: language_sums({each.spec.language: each.metric(name) for each in compared}, predictions) for name in names
    }
