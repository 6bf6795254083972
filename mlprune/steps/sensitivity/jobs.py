"""Job of step `compare` that measures how much each unit of the model matters to each language. It runs no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mlprune.evaluation.inference.language_groups import LanguageGroup
from mlprune.evaluation.task_metrics import Metric, task_metrics
from mlprune.json_values import JsonObject, JsonValue, as_int, as_str
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.statistics.bootstrap import N_RESAMPLES
from mlprune.steps.compare.comparison_rows import group_columns
from mlprune.steps.compare.jobs import DRAW_BYTES, main_language, most_items
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.protocol import profile_column
from mlprune.steps.evaluate.results import StoredPredictions, predictions_of
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.job import ChainLoader, RecordJob, RecordKey, make_identity
from mlprune.steps.job_cost import SMALL_JOB_BYTES, JobCost, SetSizes
from mlprune.steps.sensitivity.agreement import LanguagePair, language_agreement
from mlprune.steps.sensitivity.losses import (
    Row,
    UnitLosses,
    corrected_p_values,
    loss_columns,
    measured_groups,
    unit_losses,
)
from mlprune.steps.sensitivity.units import Unit
from mlprune.store.store import Store
from mlprune.vocabulary import UnitName

BYTES_PER_VALUE = 32
"""Memory for the loss of a unit in a language and a resample, with its copies."""


@dataclass(frozen=True)
class Probe:
    """The variant in which only one unit is pruned, with its evaluations in all languages of a task."""

    unit: Unit
    variant_id: str
    evaluations: tuple[EvaluationSpec, ...]


@dataclass(frozen=True)
class SensitivityJob(RecordJob):
    """Compare the probes of all units of one kind with dense, in one metric of one task, at one sparsity."""

    step: ClassVar[str] = "compare"
    kind: UnitName
    sparsity: float
    metric: str
    probes: tuple[Probe, ...]
    dense_id: str
    dense: tuple[EvaluationSpec, ...]
    """One evaluation per language, in the order of the probes' evaluations."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """All evaluations, and the probes with their numbers of weights."""
        evaluations = [evaluation for probe in self.probes for evaluation in probe.evaluations]
        variants = [("variants", probe.variant_id) for probe in self.probes]
        return (*(one.identity.key for one in (*evaluations, *self.dense)), *variants)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of the signs and resamples of all clusters, and of the resampled losses."""
        limits = [most_items(evaluation.task) for evaluation in self.dense]
        n_values = N_RESAMPLES * len(self.probes) * len(self.dense)
        n_bytes = DRAW_BYTES * max(limits) + BYTES_PER_VALUE * n_values
        return JobCost(self.step, fixed_bytes=SMALL_JOB_BYTES + n_bytes)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write a row per unit and language or group, and a row per pair of languages."""
        specs = {evaluation.task.language: evaluation.task for evaluation in self.dense}
        metrics = {language: self._metric(spec) for language, spec in specs.items()}
        metric = next(iter(metrics.values()))
        groups = measured_groups(self.metric, {language: main_language(spec) for language, spec in specs.items()})
        dense = _read(store, self.dense)
        units = [unit_losses(metrics, _read(store, probe.evaluations), dense, groups=groups) for probe in self.probes]
        keys = [self._unit_columns(store, probe) for probe in self.probes]
        losses = [row for group in groups for row in _group_rows(metric, group, units, keys=keys, specs=specs)]
        pairs = language_agreement([unit.sums for unit in units])
        rows: dict[str, list[JsonObject]] = {
            "sensitivity": [{**self._keys, **row} for row in losses],
            "sensitivity_agreement": [
                {**self._keys, **self._family_columns, **self._pair_columns(pair, units)} for pair in pairs
            ],
        }
        store.write_record(self.identity.record(rows=rows))

    @property
    def _keys(self) -> Row:
        """Columns that are equal in the whole record."""
        return {
            "sensitivity_id": self.identity.id,
            "baseline_id": self.dense_id,
            "unit_kind": self.kind,
            "sparsity": self.sparsity,
            "metric": self.metric,
        }

    @property
    def _family_columns(self) -> Row:
        spec = self.dense[0].task
        return {**spec.family_columns, **profile_column(spec.profile)}

    def _unit_columns(self, store: Store, probe: Probe) -> Row:
        """Return the columns on a unit: its weights, and how many of them and of all weights its probe removes."""
        layers = store.require("variants", probe.variant_id).rows["variant_layers"]
        n_weights = sum(as_int(row["n_weights"]) for row in layers)
        of_unit = [row for row in layers if probe.unit.includes(as_int(row["block"]), as_str(row["layer"]))]
        n_removed = sum(as_int(row["n_removed"]) for row in layers)
        return {
            "variant_id": probe.variant_id,
            **probe.unit.columns,
            "n_weights": sum(as_int(row["n_weights"]) for row in of_unit),
            "n_removed": n_removed,
            "removed_share": n_removed / n_weights,
        }

    def _pair_columns(self, pair: LanguagePair, units: Sequence[UnitLosses]) -> Row:
        agreement = pair.agreement
        return {
            "language": pair.language,
            "other_language": pair.other_language,
            "n_units": len(units),
            "n_clusters": units[0].sums.n_clusters,
            "rank_correlation": None if agreement is None else agreement.value,
            "corrected": None if agreement is None else agreement.corrected,
            "ci_low": None if agreement is None else agreement.interval.low,
            "ci_high": None if agreement is None else agreement.interval.high,
        }

    def _metric(self, spec: TaskSpec) -> Metric:
        return task_metrics(spec.definition, spec.target_language, names=(self.metric,))[0]


def sensitivity_job(
    kind: UnitName,
    probes: Sequence[Probe],
    *,
    sparsity: float,
    metric: str,
    dense_id: str,
    dense: Sequence[EvaluationSpec],
) -> SensitivityJob:
    """Return the job of probes whose evaluations differ from those of dense in nothing but the variant."""
    parents: dict[str, JsonValue] = {
        "evaluations": [evaluation.identity.id for probe in probes for evaluation in probe.evaluations],
        "baseline_evaluations": [evaluation.identity.id for evaluation in dense],
    }
    parameters: dict[str, JsonValue] = {"units": kind, "sparsity": sparsity, "metric": metric}
    identity = make_identity("sensitivities", parameters, parents=parents)
    return SensitivityJob(identity, kind, sparsity, metric, tuple(probes), dense_id, tuple(dense))


def _read(store: Store, evaluations: Sequence[EvaluationSpec]) -> dict[str, StoredPredictions]:
    return {evaluation.task.language: predictions_of(store, evaluation) for evaluation in evaluations}


def _group_rows(
    metric: Metric,
    group: LanguageGroup,
    units: Sequence[UnitLosses],
    *,
    keys: Sequence[Row],
    specs: Mapping[str, TaskSpec],
) -> list[Row]:
    """Return the rows of one language or group, one per unit."""
    p_values = corrected_p_values(units, group)
    return [
        {
            **of_unit,
            **group_columns(group, specs),
            **loss_columns(metric, unit.losses[group]),
            "p_max_t": p_value,
        }
        for of_unit, unit, p_value in zip(keys, units, p_values, strict=True)
    ]
