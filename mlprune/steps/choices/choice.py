"""Choose among all candidates of a task on dev: one job per task. It runs no model."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from mlprune.evaluation.inference.estimates import HasItems
from mlprune.evaluation.inference.language_sums import candidate_sums
from mlprune.evaluation.task_metrics import Metric, task_metrics
from mlprune.json_values import Row, as_float, as_str
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.bootstrap import N_RESAMPLES
from mlprune.steps.choices import outcome
from mlprune.steps.compare.differences import main_language, most_items
from mlprune.steps.declared_job import StoredWork
from mlprune.steps.evaluate.results import predictions_of
from mlprune.steps.job import ChainLoader, Identity, JobCost, RecordJob, RecordKey, SetSizes, make_identity
from mlprune.steps.tasks.evaluation import EvaluationSpec, Families, families_of
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.store.records import Record
from mlprune.store.store import Store

BYTES_PER_CLUSTER = 40_000
"""Memory for the signs and the resamples of a cluster."""
BYTES_PER_VALUE = 32
"""Memory for a value of a candidate in a resample, with its copies."""
METRICS = ("accuracy", "chrf", "perplexity")
"""Metrics to choose by, the first one that a task has; without any of them, the task's first metric."""
Evaluations = Mapping[str, Sequence[EvaluationSpec]]
"""Variant id -> its evaluations."""


@dataclass(frozen=True)
class Candidate:
    """A variant that can be chosen, with its evaluations on one task."""

    variant_id: str
    dev: outcome.Evaluations
    test: outcome.Evaluations
    """Empty if the task has no test split."""


@dataclass(frozen=True)
class ChoiceJob(RecordJob):
    """Choose among the dense model and all pruned variants on dev, by every criterion of a task."""

    step: ClassVar[str] = "compare"
    planned_cpu_s: ClassVar[float] = 0.5
    metric: str
    candidates: tuple[Candidate, ...]
    """In the order of preference among equally good ones: the dense model, then by sparsity, then by id."""

    @classmethod
    def of_record(cls, record: Record, work: StoredWork) -> "ChoiceJob":
        """Return the job that wrote a record."""
        of_splits: list[dict[str, dict[str, EvaluationSpec]]] = []
        for role in ("dev_evaluations", "test_evaluations"):
            by_variant: dict[str, dict[str, EvaluationSpec]] = defaultdict(dict)
            for evaluation in work.evaluations(record.parents.get(role, ())):
                by_variant[evaluation.variant_id][evaluation.task.language] = evaluation
            of_splits.append(by_variant)
        dev, test = of_splits
        candidates = tuple(
            Candidate(variant_id, of_dev, test.get(variant_id, {})) for variant_id, of_dev in dev.items()
        )
        return cls(Identity.of_record(record), as_str(record.parameters["metric"]), candidates)

    @property
    def dense(self) -> Candidate:
        """The dense model."""
        return self.candidates[0]

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """All evaluations, and the items of both splits."""
        evaluations = [
            one for candidate in self.candidates for one in (*candidate.dev.values(), *candidate.test.values())
        ]
        items = [outcome.items_key(one) for one in (*self.dense.dev.values(), *self.dense.test.values())]
        return (*(evaluation.identity.key for evaluation in evaluations), *items)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of the values of all candidates in all resamples."""
        limits = [most_items(one.task) for one in (*self.dense.dev.values(), *self.dense.test.values())]
        n_values = N_RESAMPLES * len(self.candidates) * len(self.dense.dev)
        n_bytes = BYTES_PER_CLUSTER * max(limits) + BYTES_PER_VALUE * n_values
        return JobCost.small(self.step, n_bytes)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Choose by each criterion on dev, and compare the chosen candidates with dense on test."""
        metrics = {language: self._metric(evaluation.task) for language, evaluation in self.dense.dev.items()}
        dev = candidate_sums(metrics, partial(self._dev_predictions, store), n_candidates=len(self.candidates))
        criteria = outcome.criteria_of(
            dev, {language: main_language(one.task) for language, one in self.dense.dev.items()}
        )
        test_values = self._test_values(store, dev.languages, is_log=criteria[0].is_log)
        splits = [
            {language: outcome.read_items(store, evaluation) for language, evaluation in of_split.items()}
            for of_split in (self.dense.dev, self.dense.test)
        ]
        ids = [candidate.variant_id for candidate in self.candidates]
        test = outcome.TestSplit(store, metrics, self.dense.test)
        choices: list[Row] = []
        for criterion in criteria:
            chosen = self.candidates[criterion.chosen]
            tested = None if chosen is self.dense else test.difference(criterion.group, chosen.test)
            overlap = _overlap(criterion, *splits)
            rows = outcome.criterion_rows(criterion, ids, test_values=test_values, tested=tested, overlap=overlap)
            choices += [
                row | self._evaluation_ids(criterion, index)
                for index, row in zip(criterion.candidates, rows, strict=True)
            ]
        balance = outcome.balance_of(criteria)
        pareto = [] if balance is None else outcome.pareto_rows(balance, ids, test_values=test_values)
        tables = {"choices": choices, "pareto_chances": pareto}
        rows_of = {table: [{**self._keys, **row} for row in rows] for table, rows in tables.items()}
        store.write_record(self.identity.record(rows=rows_of))

    @property
    def _keys(self) -> Row:
        """Columns that are equal in the whole record."""
        dev, test = (next(iter(one.values()), None) for one in (self.dense.dev, self.dense.test))
        assert dev is not None, "there are evaluations on dev"
        return {
            "choice_id": self.identity.id,
            "baseline_id": self.dense.variant_id,
            "task": dev.task.task,
            "metric": self.metric,
            "scoring_rule": dev.task.scoring_rule,
            "protocol_id": dev.task.protocol.id,
            "dev_limit": dev.task.limit,
            "example_limit": None if test is None else test.task.limit,
        }

    def _evaluation_ids(self, criterion: outcome.Criterion, index: int) -> Row:
        """Ids of a candidate's evaluations if the criterion is a single language."""
        language, candidate = criterion.group.name, self.candidates[index]
        return {
            "dev_evaluation_id": _id(candidate.dev.get(language)),
            "test_evaluation_id": _id(candidate.test.get(language)),
        }

    def _metric(self, spec: TaskSpec) -> Metric:
        return task_metrics(spec.definition, spec.target_language, names=(self.metric,))[0]

    def _dev_predictions(self, store: Store, index: int, language: str) -> HasItems | None:
        evaluation = self.candidates[index].dev.get(language)
        return None if evaluation is None else predictions_of(store, evaluation)

    def _test_values(self, store: Store, languages: tuple[str, ...], *, is_log: bool) -> Array:
        """[candidates, languages] stored values on test, on the scale of differences."""
        values = np.full((len(self.candidates), len(languages)), np.nan)
        for row, candidate in enumerate(self.candidates):
            for column, language in enumerate(languages):
                if language in candidate.test:
                    value = self._stored_value(store, candidate.test[language])
                    values[row, column] = math.log(value) if is_log else value
        return values

    def _stored_value(self, store: Store, evaluation: EvaluationSpec) -> float:
        rows = store.require(*evaluation.identity.key).rows["metrics"]
        return next(as_float(row["value"]) for row in rows if row["metric"] == self.metric)


def _overlap(
    criterion: outcome.Criterion, dev: Mapping[str, outcome.SplitItems], test: Mapping[str, outcome.SplitItems]
) -> outcome.Overlap | None:
    languages = [name for name in criterion.group.languages if name in test]
    return outcome.overlap_of(dev, {name: test[name] for name in languages}) if languages else None


def _id(evaluation: EvaluationSpec | None) -> str | None:
    return None if evaluation is None else evaluation.identity.id


def choice_jobs(variants: Mapping[str, PlannedVariant], evaluations: Evaluations) -> list[ChoiceJob]:
    """Plan the choices of a recipe; a task without a dev split, or without pruned variants on it, has none.

    Of evaluations of several sizes, the largest size of the dense model counts. Interventions, other base models and
    variants without neurons are not candidates.
    """
    dense = next(variant for variant in variants.values() if variant.is_dense)
    pruned = [variant for variant in variants.values() if _is_candidate(variant, dense)]
    preferred = [dense, *sorted(pruned, key=lambda variant: (variant.spec.sparsity, variant.id))]
    families = {variant.id: families_of(evaluations[variant.id]) for variant in preferred}
    return [job for splits in _tasks(families[dense.id]) for job in _job(families, splits)]


def metric_of(spec: TaskSpec) -> str:
    """Return the metric by which variants are chosen."""
    names = spec.metrics or spec.definition.metrics
    return next((name for name in METRICS if name in names), names[0])


def _is_candidate(variant: PlannedVariant, dense: PlannedVariant) -> bool:
    is_pruned = not variant.spec.is_dense and variant.spec.unquantised.is_candidate
    return is_pruned and variant.spec.model.base_model_id == dense.spec.model.base_model_id


def _tasks(families: Iterable[TaskSpec]) -> Iterator[Mapping[str, TaskSpec]]:
    """Yield split -> task without a language, for each task that is evaluated on dev in profile corrected."""
    sizes: dict[tuple[str, str, str], dict[str, list[TaskSpec]]] = defaultdict(lambda: defaultdict(list))
    for spec in families:
        if spec.profile == "corrected":
            sizes[spec.task, spec.protocol.id, spec.scoring_rule][spec.split].append(spec)
    for splits in sizes.values():
        if "dev" in splits:
            yield {split: max(specs, key=_size) for split, specs in splits.items()}


def _size(spec: TaskSpec) -> float:
    return float("inf") if spec.limit is None else spec.limit


def _job(variants: Mapping[str, Families], splits: Mapping[str, TaskSpec]) -> Iterator[ChoiceJob]:
    """Yield the job of a task if there is anything to choose.

    Args:
        variants: id -> evaluations, in the order of preference.
    """
    candidates = []
    for variant_id, families in variants.items():
        dev, test = (families.get(splits[split], {}) if split in splits else {} for split in ("dev", "test"))
        if dev:
            candidates.append(Candidate(variant_id, dev, test))
    if len(candidates) > 1:
        parents = {
            "dev_evaluations": [one.identity.id for candidate in candidates for one in candidate.dev.values()],
            "test_evaluations": [one.identity.id for candidate in candidates for one in candidate.test.values()]
            or None,
        }
        metric = metric_of(splits["dev"])
        yield ChoiceJob(make_identity("choices", {"metric": metric}, parents=parents), metric, tuple(candidates))
