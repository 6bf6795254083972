"""Variants that differ in nothing but a seed: their groups, and their differences."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, get_args

from mlprune.evaluation.inference.aggregates import AGGREGATED, SeedDifference, seed_difference
from mlprune.evaluation.inference.estimates import estimate_columns, interval_columns
from mlprune.evaluation.inference.language_sums import LanguageGroup, LanguageSums, language_groups, language_sums
from mlprune.evaluation.task_metrics import Metric
from mlprune.json_values import JsonObject, JsonValue, as_int, as_list, as_str
from mlprune.steps.compare.differences import group_columns, main_language
from mlprune.steps.declared_job import EVALUATION_ROLES, StoredWork
from mlprune.steps.evaluate.results import StoredPredictions, metrics_of, predictions_by_language
from mlprune.steps.job import ChainLoader, RecordKey, SmallJob, make_identity
from mlprune.steps.sets import PlannedSet
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.variants.base_variant import SeedSource
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.store.records import Record
from mlprune.store.store import Store

MINIMUM_SEEDS = 2


@dataclass(frozen=True)
class SeedGroup:
    """Variants with different seeds, in the order of their seeds."""

    source: SeedSource
    variants: tuple[tuple[int, str], ...]
    """(seed, id of the variant)."""


def seed_groups(variants: Iterable[PlannedVariant]) -> list[SeedGroup]:
    """Return the groups of at least two variants, in the order of their first variants."""
    members: dict[tuple[SeedSource, Hashable], dict[int, str]] = defaultdict(dict)
    for variant in variants:
        for source in get_args(SeedSource):
            seed = variant.own_seed(source)
            if seed is not None:
                members[source, _without(variant, source)].setdefault(seed, variant.id)
    return [
        SeedGroup(source, tuple(sorted(by_seed.items())))
        for (source, _), by_seed in members.items()
        if len(by_seed) > 1
    ]


def _without(variant: PlannedVariant, source: SeedSource) -> Hashable:
    """Return everything that determines a variant except the seed of a source."""
    sets = (*variant.sets, *([variant.contrast] if variant.contrast else []))
    return variant.spec.without_seed(
        source,
        sets=tuple(_set(planned, source) for planned in sets),
        parents=tuple(_without(parent, source) for parent in variant.parents),
    )


def _set(planned: PlannedSet, source: SeedSource) -> Hashable:
    """Return the set's id or, without its seed, its description; a mixed set has that of its name.

    The number of demonstrations that fill a token budget depends on the seed, so it is not part of the description.
    """
    if source != "demonstrations":
        return planned.id
    spec = planned.spec
    name = planned.name if spec.kind == "mixed" else ""
    described = replace(spec, seed=0, samples=0 if spec.token_budget else spec.samples)
    return described, name, tuple(sorted(planned.identity.contents.items()))


@dataclass(frozen=True)
class SeedEvaluations:
    """The evaluations of one seed: one per language."""

    seed: int
    variant_id: str
    evaluations: tuple[EvaluationSpec, ...]

    @property
    def languages(self) -> frozenset[str]:
        """Languages of the evaluations."""
        return frozenset(evaluation.task.language for evaluation in self.evaluations)


@dataclass(frozen=True)
class SeedComponentsJob(SmallJob):
    """Estimate how much of the difference to dense is due to the seed, on one task and split."""

    step: ClassVar[str] = "compare"
    planned_cpu_s: ClassVar[float] = 0.1
    source: SeedSource
    seeds: tuple[SeedEvaluations, ...]
    baseline_id: str
    baselines: tuple[EvaluationSpec, ...]
    """One evaluation per language."""

    @classmethod
    def of_record(cls, record: Record, work: StoredWork) -> "SeedComponentsJob":
        """Return the job that wrote a record."""
        ids = [record_id for role in EVALUATION_ROLES for record_id in record.parents[role]]
        job = seed_components_of(record, dict(zip(ids, work.evaluations(ids), strict=True)))
        assert job is not None, "a record names the evaluations of its rows"
        return job

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """All evaluations."""
        evaluations = [evaluation for seed in self.seeds for evaluation in seed.evaluations]
        return tuple(evaluation.identity.key for evaluation in (*evaluations, *self.baselines))

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write a row for each metric and language, and for the languages outside English together."""
        specs = {baseline.task.language: baseline.task for baseline in self.baselines}
        together = language_groups({language: main_language(spec) for language, spec in specs.items()})
        means = [group for group in together if group.kind == "outside_english"]
        alone = [LanguageGroup("language", language, (language,)) for language in sorted(specs)]
        of_baseline = predictions_by_language(store, self.baselines)
        of_seeds = [predictions_by_language(store, seed.evaluations) for seed in self.seeds]
        metrics = {
            language: {metric.name: metric for metric in metrics_of(spec, *(one[language] for one in of_seeds))}
            for language, spec in specs.items()
        }
        rows = []
        for name in next(iter(metrics.values())):
            named = {language: by_name[name] for language, by_name in metrics.items()}
            sums = [_sums(named, predictions, of_baseline) for predictions in of_seeds]
            for group in [*(means if name in AGGREGATED else ()), *alone]:
                difference = seed_difference(sums, group)
                if difference is not None:
                    rows.append({**self._keys, "metric": name, **_columns(difference), **group_columns(group, specs)})
        store.write_record(self.identity.record(rows={"seed_components": rows}))

    @property
    def _keys(self) -> JsonObject:
        return {
            "seed_components_id": self.identity.id,
            "variant_id": self.seeds[0].variant_id,
            "variant_ids": [seed.variant_id for seed in self.seeds],
            "seeds": [seed.seed for seed in self.seeds],
            "seed_of": self.source,
            "baseline_id": self.baseline_id,
        }


def seed_components_job(
    source: SeedSource, seeds: Sequence[SeedEvaluations], *, baseline_id: str, baselines: Sequence[EvaluationSpec]
) -> SeedComponentsJob | None:
    """Return the job of some seeds on the languages that all of them and the baseline have; None if nothing is left.

    Args:
        seeds: their evaluations differ from each other only in variant and language.
        baselines: one evaluation per language.
    """
    languages = [
        baseline.task.language
        for baseline in baselines
        if all(baseline.task.language in seed.languages for seed in seeds)
    ]
    if len(seeds) < MINIMUM_SEEDS or not languages:
        return None
    kept = tuple(replace(seed, evaluations=_in_languages(seed.evaluations, languages)) for seed in seeds)
    kept_baselines = _in_languages(baselines, languages)
    parents: dict[str, JsonValue] = {
        "evaluations": [evaluation.identity.id for seed in kept for evaluation in seed.evaluations],
        "baseline_evaluations": [evaluation.identity.id for evaluation in kept_baselines],
    }
    identity = make_identity("seed_components", {"seed_of": source}, parents=parents)
    return SeedComponentsJob(identity, source, kept, baseline_id, kept_baselines)


def seed_components_of(record: Record, evaluations: Mapping[str, EvaluationSpec]) -> SeedComponentsJob | None:
    """Return the job of the seeds of a record with other evaluations; None if nothing is left.

    Args:
        evaluations: id of an evaluation in the record -> the other one.
    """
    of_seeds, baselines = (
        [evaluations[one] for one in record.parents[role] if one in evaluations] for role in EVALUATION_ROLES
    )
    if not record.rows["seed_components"] or not baselines:
        return None
    row = record.rows["seed_components"][0]
    by_variant: dict[str, list[EvaluationSpec]] = defaultdict(list)
    for evaluation in of_seeds:
        by_variant[evaluation.variant_id].append(evaluation)
    seeds = [
        SeedEvaluations(as_int(seed), as_str(variant), tuple(by_variant[as_str(variant)]))
        for seed, variant in zip(as_list(row["seeds"]), as_list(row["variant_ids"]), strict=True)
    ]
    source = next(source for source in get_args(SeedSource) if source == row["seed_of"])
    return seed_components_job(source, seeds, baseline_id=as_str(row["baseline_id"]), baselines=baselines)


def _in_languages(evaluations: Sequence[EvaluationSpec], languages: Sequence[str]) -> tuple[EvaluationSpec, ...]:
    by_language = {evaluation.task.language: evaluation for evaluation in evaluations}
    return tuple(by_language[language] for language in languages)


def _sums(
    metrics: dict[str, Metric], first: dict[str, StoredPredictions], second: dict[str, StoredPredictions]
) -> LanguageSums:
    return language_sums(metrics, {language: (first[language], second[language]) for language in metrics})


def _columns(result: SeedDifference) -> dict[str, JsonValue]:
    return {
        "n_seeds": result.n_seeds,
        "n_items": result.n_items,
        "difference": result.difference,
        "scale": result.scale,
        **estimate_columns(result),
        **interval_columns("bootstrap_ci", result.bootstrap),
        "seed_variance": result.seed_variance,
        "item_variance": result.item_variance,
        "language_variance": result.language_variance,
        "seed_share": result.seed_share,
        "sd_seed": result.deviation,
        **interval_columns("sd_seed_ci", result.deviation_interval),
    }
