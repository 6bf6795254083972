"""Jobs of step `compare` that choose among all candidates of a task on dev. They run no model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from mlprune.evaluation.inference.candidates import candidate_sums
from mlprune.evaluation.inference.samples import HasItems
from mlprune.evaluation.task_metrics import Metric, task_metrics
from mlprune.json_values import as_float
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.statistics.bootstrap import N_RESAMPLES
from mlprune.numeric.statistics.clusters import Array
from mlprune.steps.choices.criteria import Criterion, balance_of, criteria_of
from mlprune.steps.choices.rows import Row, criterion_rows, pareto_rows
from mlprune.steps.choices.split_overlap import Overlap, SplitItems, items_key, overlap_of, read_items
from mlprune.steps.choices.tested import Evaluations, TestSplit
from mlprune.steps.compare.jobs import main_language, most_items
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.results import predictions_of
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.job import ChainLoader, RecordJob, RecordKey
from mlprune.steps.job_cost import SMALL_JOB_BYTES, JobCost, SetSizes
from mlprune.store.store import Store

BYTES_PER_CLUSTER = 40_000
"""Memory for the signs and the resamples of a cluster."""
BYTES_PER_VALUE = 32
"""Memory for a value of a candidate in a resample, with its copies."""


@dataclass(frozen=True)
class Candidate:
    """A variant that can be chosen, with its evaluations on one task."""

    variant_id: str
    dev: Evaluations
    test: Evaluations
    """Empty if the task has no test split."""


@dataclass(frozen=True)
class ChoiceJob(RecordJob):
    """Choose among the dense model and all pruned variants on dev, by every criterion of a task."""

    step: ClassVar[str] = "compare"
    metric: str
    candidates: tuple[Candidate, ...]
    """In the order of preference among equally good ones: the dense model, then by sparsity, then by id."""

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
        items = [items_key(one) for one in (*self.dense.dev.values(), *self.dense.test.values())]
        return (*(evaluation.identity.key for evaluation in evaluations), *items)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of the values of all candidates in all resamples."""
        limits = [most_items(one.task) for one in (*self.dense.dev.values(), *self.dense.test.values())]
        n_values = N_RESAMPLES * len(self.candidates) * len(self.dense.dev)
        n_bytes = BYTES_PER_CLUSTER * max(limits) + BYTES_PER_VALUE * n_values
        return JobCost(self.step, fixed_bytes=SMALL_JOB_BYTES + n_bytes)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Choose by each criterion on dev, and compare the chosen candidates with dense on test."""
        metrics = {language: self._metric(evaluation.task) for language, evaluation in self.dense.dev.items()}
        dev = candidate_sums(metrics, partial(self._dev_predictions, store), n_candidates=len(self.candidates))
        criteria = criteria_of(dev, {language: main_language(one.task) for language, one in self.dense.dev.items()})
        test_values = self._test_values(store, dev.languages, is_log=criteria[0].is_log)
        splits = [
            {language: read_items(store, evaluation) for language, evaluation in of_split.items()}
            for of_split in (self.dense.dev, self.dense.test)
        ]
        ids = [candidate.variant_id for candidate in self.candidates]
        test = TestSplit(store, metrics, self.dense.test)
        choices: list[Row] = []
        for criterion in criteria:
            chosen = self.candidates[criterion.chosen]
            tested = None if chosen is self.dense else test.difference(criterion.group, chosen.test)
            overlap = _overlap(criterion, *splits)
            rows = criterion_rows(criterion, ids, test_values=test_values, tested=tested, overlap=overlap)
            choices += [
                row | self._evaluation_ids(criterion, index)
                for index, row in zip(criterion.candidates, rows, strict=True)
            ]
        balance = balance_of(criteria)
        pareto = [] if balance is None else pareto_rows(balance, ids, test_values=test_values)
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

    def _evaluation_ids(self, criterion: Criterion, index: int) -> Row:
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


def _overlap(criterion: Criterion, dev: Mapping[str, SplitItems], test: Mapping[str, SplitItems]) -> Overlap | None:
    languages = [name for name in criterion.group.languages if name in test]
    return overlap_of(dev, {name: test[name] for name in languages}) if languages else None


def _id(evaluation: EvaluationSpec | None) -> str | None:
    return None if evaluation is None else evaluation.identity.id
