"""Losses of every unit in each language: paired differences of probes, and agreement of languages.

A loss is positive if the probe is worse: dense minus probe for metrics of which higher values are better, otherwise
probe minus dense; for perplexity ln(perplexity of the probe / perplexity of dense). The loss in divergence is that of
the probe, because dense has 0. Values, intervals and tests are those of `comparison_results` (one language) and
`aggregate_results` (groups), with the sign turned where it must be.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, ClassVar, NamedTuple, Self

import numpy as np

from mlprune.capabilities.sensitivity.max_t import max_t_p_values
from mlprune.capabilities.sensitivity.rank_intervals import LEAST_UNITS, RankAgreement, rank_agreement
from mlprune.evaluation.inference.aggregates import AGGREGATED, Aggregate, aggregate, contributions_of
from mlprune.evaluation.inference.estimates import Difference, HasItems, estimate_columns, flips_of, interval_columns
from mlprune.evaluation.inference.language_sums import (
    LanguageGroup,
    LanguageSums,
    language_groups,
    language_sums,
    resampled_values,
)
from mlprune.evaluation.inference.methods import compare
from mlprune.evaluation.task_metrics import Metric, task_metrics
from mlprune.json_values import JsonObject, Row, as_float, as_int, as_list, as_object, as_str
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.bootstrap import N_RESAMPLES
from mlprune.pruning.spec import Scope
from mlprune.steps.compare.differences import DRAW_BYTES, group_columns, main_language, most_items
from mlprune.steps.declared_job import DeclaredJob, Evaluations, Parameter, StoredWork
from mlprune.steps.evaluate.results import predictions_by_language
from mlprune.steps.job import ChainLoader, JobCost, RecordKey, SetSizes
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.task_spec import TaskSpec, profile_column
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import UnitName

Predictions = Mapping[str, HasItems]
"""Language -> predictions."""
BYTES_PER_VALUE = 32
"""Memory for the loss of a unit in a language and a resample, with its copies."""


@dataclass(frozen=True)
class Unit:
    """A block, a layer in all blocks, or a layer of one block."""

    block: int | None = None
    """None: all blocks."""
    layer: str | None = None
    """None: all layers."""

    @classmethod
    def of_scope(cls, scope: JsonObject) -> "Unit":
        """Return the only unit in a scope of a variant's parameters."""
        block, layer = (next(iter(as_list(scope.get(key, []))), None) for key in ("blocks", "layers"))
        return cls(None if block is None else as_int(block), None if layer is None else as_str(layer))

    @property
    def name(self) -> str:
        """Key of the unit in the catalog: `3`, `fc1` or `3.fc1`."""
        return ".".join(str(part) for part in (self.block, self.layer) if part is not None)

    @property
    def columns(self) -> JsonObject:
        """Columns of the catalog."""
        return {"unit": self.name, "block": self.block, "layer": self.layer}

    def includes(self, block: int, layer: str) -> bool:
        """Whether a layer of a block is part of the unit."""
        return self.block in (None, block) and self.layer in (None, layer)


def units_of(kind: UnitName, scope: Scope, *, n_blocks: int, layers: tuple[str, ...]) -> tuple[Unit, ...]:
    """Return the units of a kind inside a scope, in the order of the model.

    Args:
        n_blocks: of the model.
        layers: of a block.
    """
    blocks = [block for block in range(n_blocks) if not scope.blocks or block in scope.blocks]
    names = [layer for layer in layers if not scope.layers or layer in scope.layers]
    if kind == "block":
        return tuple(Unit(block) for block in blocks)
    if kind == "layer":
        return tuple(Unit(layer=layer) for layer in names)
    return tuple(Unit(block, layer) for block in blocks for layer in names)


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
            both = probe[group.name], dense[group.name]
            of_group[group] = compare([metric], *both, asked=[metric.name])[metric.name]
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
    single = [as_float(unit.losses[group].p_value) for unit in units]
    return [float(p_value) for p_value in np.maximum(corrected, single)]


def loss_columns(metric: Metric, difference: Difference | Aggregate) -> Row:
    """Return the columns on the loss of one language or group."""
    is_mirrored = metric.higher_is_better
    return {
        "loss": (-difference.difference if is_mirrored else difference.difference) + 0.0,
        "scale": difference.scale,
        **estimate_columns(difference),
        **interval_columns("ci", difference.interval.mirrored if is_mirrored else difference.interval),
        "p_value": difference.p_value,
        "test": difference.test,
        "n_items": difference.n_items,
    }


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


@dataclass(frozen=True)
class Probe:
    """The variant in which only one unit is pruned, with its evaluations in all languages of a task."""

    unit: Unit
    variant_id: str
    evaluations: tuple[EvaluationSpec, ...]


@dataclass(frozen=True)
class SensitivityJob(DeclaredJob):
    """Compare the probes of all units of one kind with dense, in one metric of one task, at one sparsity."""

    kind: ClassVar[str] = "sensitivities"
    step: ClassVar[str] = "compare"
    units: Annotated[UnitName, Parameter()]
    """Kind of the units."""
    sparsity: Annotated[float, Parameter()]
    metric: Annotated[str, Parameter()]
    evaluations: Annotated[tuple[EvaluationSpec, ...], Evaluations("evaluations")]
    """Those of all probes; each has the languages of the dense model in the same order."""
    dense: Annotated[tuple[EvaluationSpec, ...], Evaluations("baseline_evaluations")]
    """One evaluation per language."""
    probed: tuple[Unit, ...]
    """Units of the probes."""

    @classmethod
    def of_record(cls, record: Record, work: StoredWork) -> Self:
        """Return the job that wrote a record; the scope of a probe is its unit."""
        n_languages = len(record.parents["baseline_evaluations"])
        firsts = work.evaluations(record.parents["evaluations"][::n_languages])
        variants = (work.store.require("variants", one.variant_id) for one in firsts)
        probed = tuple(Unit.of_scope(as_object(variant.parameters["scope"])) for variant in variants)
        return cls.with_stored(record, work, probed=probed)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """The probes, in the order of their units."""
        n_languages = len(self.dense)
        parts = (
            self.evaluations[start : start + n_languages] for start in range(0, len(self.evaluations), n_languages)
        )
        return tuple(Probe(unit, part[0].variant_id, part) for unit, part in zip(self.probed, parts, strict=True))

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """All evaluations, and the probes with their numbers of weights."""
        return (*super().needs, *(("variants", probe.variant_id) for probe in self.probes))

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of the signs and resamples of all clusters, and of the resampled losses."""
        limits = [most_items(evaluation.task) for evaluation in self.dense]
        n_values = N_RESAMPLES * len(self.probes) * len(self.dense)
        n_bytes = DRAW_BYTES * max(limits) + BYTES_PER_VALUE * n_values
        return JobCost.small(self.step, n_bytes)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write a row per unit and language or group, and a row per pair of languages."""
        specs = {evaluation.task.language: evaluation.task for evaluation in self.dense}
        metrics = {language: self._metric(spec) for language, spec in specs.items()}
        metric = next(iter(metrics.values()))
        groups = measured_groups(self.metric, {language: main_language(spec) for language, spec in specs.items()})
        dense = predictions_by_language(store, self.dense)
        losses_of = [
            unit_losses(metrics, predictions_by_language(store, probe.evaluations), dense, groups=groups)
            for probe in self.probes
        ]
        keys = [self._unit_columns(store, probe) for probe in self.probes]
        losses = [row for group in groups for row in _group_rows(metric, group, losses_of, keys=keys, specs=specs)]
        pairs = language_agreement([unit.sums for unit in losses_of])
        rows: dict[str, list[JsonObject]] = {
            "sensitivity": [{**self._keys, **row} for row in losses],
            "sensitivity_agreement": [
                {**self._keys, **self._family_columns, **self._pair_columns(pair, losses_of)} for pair in pairs
            ],
        }
        store.write_record(self.identity.record(rows=rows))

    @property
    def _keys(self) -> Row:
        """Columns that are equal in the whole record."""
        return {
            "sensitivity_id": self.identity.id,
            "baseline_id": self.dense[0].variant_id,
            "unit_kind": self.units,
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
            **interval_columns("ci", None if agreement is None else agreement.interval),
        }

    def _metric(self, spec: TaskSpec) -> Metric:
        return task_metrics(spec.definition, spec.target_language, names=(self.metric,))[0]


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
