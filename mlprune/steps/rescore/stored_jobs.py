"""Jobs made again from stored records: those whose results follow from other results, without running the model.

A record names its parents and parameters, so the job that wrote it can be built without its recipe. Rescoring builds
the same jobs for other evaluations.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

from mlprune.errors import BadInputError, StoreError
from mlprune.hashing import with_defaults
from mlprune.json_values import as_float, as_int, as_list, as_object, as_str
from mlprune.methods import StatisticName
from mlprune.numeric.allocation import CutoffName
from mlprune.pruning.spec import ScoreSpec, StatisticsSelection
from mlprune.steps.baselines.lrp2 import ChoiceJob as PairChoiceJob
from mlprune.steps.choices.choice import Candidate, ChoiceJob
from mlprune.steps.compare.analyses import LayerErrorsJob, NeuronRemovalsJob
from mlprune.steps.compare.differences import CompareJob, compare_job
from mlprune.steps.compare.expert_overlaps import ExpertOverlapJob
from mlprune.steps.compare.overlaps import FeatureOverlapJob, MaskOverlapJob
from mlprune.steps.compare.rank_consistency import RankConsistencyJob, rank_consistency_job
from mlprune.steps.compare.seeds import SeedComponentsJob, SeedEvaluations, seed_components_job
from mlprune.steps.inputs import require_base_model
from mlprune.steps.job import Identity, Job, ModelRef
from mlprune.steps.prune.block_values import BlockScoresJob, DenseScores, MeanExponentsJob, OutliersJob, SpectraJob
from mlprune.steps.questions.answers import AnswerJob, answering_comparison
from mlprune.steps.questions.asked import languages_in
from mlprune.steps.questions.evidence import Criterion
from mlprune.steps.sensitivity.losses import Probe, SensitivityJob, Unit, sensitivity_job
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.task_spec import task_spec
from mlprune.steps.variants.neuron_variant import SeedSource
from mlprune.steps.variants.variant import ROLES_OF_PARENT
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import DtypeName, ProfileName, UnitName

Evaluations = Mapping[str, EvaluationSpec]
"""Id of a stored evaluation -> the evaluation that a job reads."""
FindModel = Callable[[str], Path]
"""Returns the folder of a base model, given its id."""


def evaluation_spec(record: Record) -> EvaluationSpec:
    """Return the evaluation that a record describes."""
    return EvaluationSpec(identity_of(record), task_spec(record.parameters))


def identity_of(record: Record) -> Identity:
    """Return the identity of a record's work, in the version of today."""
    return Identity(record.kind, record.parameters, record.parents, record.contents)


class StoredJobs:
    """Makes jobs again from the records of a store. Each evaluation is parsed once.

    Args:
        find_model: finds the base models whose weights some jobs read; see `find_base_model` for its error.
    """

    def __init__(self, store: Store, find_model: FindModel) -> None:
        self.store = store
        self._find_model = find_model
        self._evaluations: dict[str, EvaluationSpec] = {}

    def job_of(self, record: Record) -> Job:
        """Return the job that wrote a record of a kind in `STORED_JOBS`.

        Raises:
            StoreError: a record that it was made from, or the base model, is missing.
        """
        return STORED_JOBS[record.kind](self, record)

    def evaluations(self, ids: Iterable[str]) -> list[EvaluationSpec]:
        """Return the evaluations with some ids."""
        return [self._evaluation(record_id) for record_id in ids]

    def _evaluation(self, record_id: str) -> EvaluationSpec:
        if record_id not in self._evaluations:
            self._evaluations[record_id] = evaluation_spec(self.store.require("evaluations", record_id))
        return self._evaluations[record_id]

    def model_of(self, record: Record) -> ModelRef:
        """Return the base model of a record, in the dtype of its parameters.

        Raises:
            StoreError: the model is not found.
        """
        return self.model(record.parent("base_model"), cast("DtypeName", record.parameters.get("dtype", "float32")))

    def model(self, base_model_id: str, dtype: DtypeName = "float32") -> ModelRef:
        """Return a base model.

        Raises:
            StoreError: the model is not found.
        """
        try:
            info = require_base_model(self._find_model(base_model_id), base_model_id)
        except BadInputError as err:
            raise StoreError("the base model is not found", base_model_id=base_model_id, reason=err.message) from err
        return ModelRef(base_model_id, str(info.path), info.family, info.n_blocks, None, dtype)

    def specs(self, record: Record) -> Evaluations:
        """Return all evaluations that a record was made from, by id."""
        ids = [record_id for role in ROLES for record_id in record.parents.get(role, ())]
        return dict(zip(ids, self.evaluations(ids), strict=True))


ROLES = ("evaluations", "baseline_evaluations")
"""Roles of the evaluations of a variant and of its baseline, in the records of comparisons."""


def comparison(store: Store, record: Record, evaluations: Evaluations) -> CompareJob | None:
    """Return the job of a comparison for other evaluations; None if no pair of them is left."""
    sides = [[evaluations.get(evaluation_id) for evaluation_id in record.parents[role]] for role in ROLES]
    pairs = [(new, baseline) for new, baseline in zip(*sides, strict=True) if new and baseline]
    if not pairs:
        return None
    variant, baseline = (_variant_of(store, side) for side in zip(*pairs, strict=True))
    return compare_job(variant, baseline, pairs)


def rank_consistency(store: Store, record: Record, evaluations: Evaluations) -> RankConsistencyJob | None:
    """Return the job of a rank consistency for other evaluations; None if fewer than two languages are left."""
    of_variant, baselines = (_present(record, role, evaluations) for role in ROLES)
    if len(of_variant) < 2:
        return None
    variant, baseline = (_variant_of(store, side) for side in (of_variant, baselines))
    return rank_consistency_job(variant, of_variant, baseline_id=baseline, baselines=baselines)


def seed_components(store: Store, record: Record, evaluations: Evaluations) -> SeedComponentsJob | None:
    """Return the job of the seeds of a record for other evaluations; None if nothing is left."""
    of_seeds, baselines = (_present(record, role, evaluations) for role in ROLES)
    if not record.rows["seed_components"] or not baselines:
        return None
    row = record.rows["seed_components"][0]
    by_variant: dict[str, list[EvaluationSpec]] = defaultdict(list)
    for evaluation in of_seeds:
        by_variant[_variant_of(store, [evaluation])].append(evaluation)
    seeds = [
        SeedEvaluations(as_int(seed), str(variant), tuple(by_variant[str(variant)]))
        for seed, variant in zip(as_list(row["seeds"]), as_list(row["variant_ids"]), strict=True)
    ]
    source = next(source for source in get_args(SeedSource) if source == row["seed_of"])
    return seed_components_job(source, seeds, baseline_id=str(row["baseline_id"]), baselines=baselines)


def _present(record: Record, role: str, evaluations: Evaluations) -> list[EvaluationSpec]:
    ids = record.parents.get(role, ())
    return [evaluations[evaluation_id] for evaluation_id in ids if evaluation_id in evaluations]


def _variant_of(store: Store, evaluations: Sequence[EvaluationSpec]) -> str:
    """Variant of some evaluations; empty if there are none."""
    return str(store.require(*evaluations[0].identity.key).parents["variant"]) if evaluations else ""


def _of_evaluations(
    build: Callable[[Store, Record, Evaluations], Job | None],
) -> Callable[[StoredJobs, Record], Job]:
    """Return the builder of a job for the evaluations that its record names."""

    def stored(jobs: StoredJobs, record: Record) -> Job:
        job = build(jobs.store, record, jobs.specs(record))
        if job is None:
            raise ValueError("it names no evaluations")
        return job

    return stored


def _answer(jobs: StoredJobs, record: Record) -> AnswerJob:
    criterion = with_defaults(Criterion, record.parameters)
    records = [jobs.store.require("comparisons", comparison_id) for comparison_id in record.parents["comparisons"]]
    compared = [comparison(jobs.store, one, jobs.specs(one)) for one in records]
    present = [job for job in compared if job is not None]
    languages = languages_in(criterion.group, present[0])
    comparisons = (
        answering_comparison(
            job, languages, seeds=(_seed_of(jobs.store, job.variant_id), _seed_of(jobs.store, job.baseline_id))
        )
        for job in present
    )
    return AnswerJob(identity_of(record), criterion, tuple(comparisons))


def _seed_of(store: Store, variant_id: str) -> int | None:
    """Return the seed of a variant as `questions.plan.seed_of` does, from its record."""
    record = store.require("variants", variant_id)
    seed = _seed_of_sets(store, record)
    if seed is None and "score" in record.parameters and not _parents_of(record):
        return ScoreSpec.from_parameters(record.parameters).seed
    return seed


def _seed_of_sets(store: Store, record: Record) -> int | None:
    """Return the seed of the demonstration sets of a variant, or the one that its parents share."""
    parents = [_seed_of_sets(store, store.require("variants", parent)) for parent in _parents_of(record)]
    if parents:
        return parents[0] if len(set(parents)) == 1 else None
    sets = record.parents.get("demonstration_sets", ()) if "score" in record.parameters else ()
    return as_int(store.require("demonstration_sets", sets[0]).parameters["seed"]) if sets else None


def _parents_of(record: Record) -> Sequence[str]:
    """Return the variants whose masks a variant has: those of a combination, or the one from which it is derived."""
    roles = [role for role in ROLES_OF_PARENT if role in record.parents]
    return [record.parent(roles[0])] if roles else record.parents.get("variants", ())


def _choice(jobs: StoredJobs, record: Record) -> ChoiceJob:
    of_splits: list[dict[str, dict[str, EvaluationSpec]]] = []
    for role in ("dev_evaluations", "test_evaluations"):
        by_variant: dict[str, dict[str, EvaluationSpec]] = defaultdict(dict)
        for evaluation in jobs.evaluations(record.parents.get(role, ())):
            by_variant[as_str(evaluation.identity.parents["variant"])][evaluation.task.language] = evaluation
        of_splits.append(by_variant)
    dev, test = of_splits
    candidates = tuple(Candidate(variant_id, of_dev, test.get(variant_id, {})) for variant_id, of_dev in dev.items())
    return ChoiceJob(identity_of(record), as_str(record.parameters["metric"]), candidates)


def _sensitivity(jobs: StoredJobs, record: Record) -> SensitivityJob:
    of_probes, dense = (jobs.evaluations(record.parents[role]) for role in ROLES)
    starts = range(0, len(of_probes), len(dense))
    probes = [_probe(jobs.store, of_probes[start : start + len(dense)]) for start in starts]
    return sensitivity_job(
        cast("UnitName", record.parameters["units"]),
        probes,
        sparsity=as_float(record.parameters["sparsity"]),
        metric=as_str(record.parameters["metric"]),
        dense_id=_variant_of(jobs.store, dense),
        dense=dense,
    )


def _probe(store: Store, evaluations: Sequence[EvaluationSpec]) -> Probe:
    """Return a probe; the scope of its variant is its unit."""
    variant_id = _variant_of(store, evaluations)
    scope = as_object(store.require("variants", variant_id).parameters["scope"])
    block, layer = (next(iter(as_list(scope.get(key, []))), None) for key in ("blocks", "layers"))
    unit = Unit(None if block is None else as_int(block), None if layer is None else as_str(layer))
    return Probe(unit, variant_id, tuple(evaluations))


def _mask_overlap(jobs: StoredJobs, record: Record) -> MaskOverlapJob:
    first, second = map(as_str, as_list(record.parents["variants"]))
    return MaskOverlapJob(identity_of(record), (first, second))


def _feature_overlap(jobs: StoredJobs, record: Record) -> FeatureOverlapJob:
    first, second = (jobs.store.require("statistics", one) for one in record.parents["statistics"])
    return FeatureOverlapJob(
        identity_of(record),
        first.parent("base_model"),
        (first.parent("demonstration_set"), second.parent("demonstration_set")),
        (first.id, second.id),
        as_float(record.parameters["share"]),
        cast("ProfileName", record.parameters.get("profile", "corrected")),
    )


def _expert_overlap(jobs: StoredJobs, record: Record) -> ExpertOverlapJob:
    first, second = (jobs.store.require("expert_statistics", one) for one in record.parents["expert_statistics"])
    return ExpertOverlapJob(
        identity_of(record),
        first.parent("base_model"),
        (first.parent("demonstration_set"), second.parent("demonstration_set")),
        (first.id, second.id),
        as_float(record.parameters["share"]),
    )


def _neuron_removals(jobs: StoredJobs, record: Record) -> NeuronRemovalsJob:
    variant_id = record.parent("variant")
    base_model_id = as_str(jobs.store.require("variants", variant_id).rows["variants"][0]["base_model_id"])
    return NeuronRemovalsJob(identity_of(record), jobs.model(base_model_id), variant_id)


def _layer_errors(jobs: StoredJobs, record: Record) -> LayerErrorsJob:
    matrices = jobs.store.require("gram_matrices", record.parent("gram_matrices"))
    return LayerErrorsJob(
        identity_of(record),
        jobs.model_of(matrices),
        record.parent("variant"),
        record.parent("demonstration_set"),
        matrices.id,
    )


def _dense_scores(jobs: StoredJobs, record: Record) -> DenseScores:
    return DenseScores(
        jobs.model_of(record),
        StatisticsSelection.from_parameters(record.parameters),
        tuple(record.parents["statistics"]),
    )


def _outliers(jobs: StoredJobs, record: Record) -> OutliersJob:
    return OutliersJob(identity_of(record), _dense_scores(jobs, record), as_float(record.parameters["m"]))


def _spectra(jobs: StoredJobs, record: Record) -> SpectraJob:
    return SpectraJob(identity_of(record), jobs.model_of(record), as_int(record.parameters["block"]))


def _block_values(jobs: StoredJobs, record: Record) -> Job:
    name, _, quantity = as_str(record.parameters["name"]).rpartition("_")
    if quantity == "score":
        return BlockScoresJob(identity_of(record), _dense_scores(jobs, record), cast("StatisticName", name))
    spectra = tuple(record.parents["spectra"])
    return MeanExponentsJob(identity_of(record), jobs.model_of(record), cast("CutoffName", name), spectra)


def _pair_choice(jobs: StoredJobs, record: Record) -> PairChoiceJob:
    return PairChoiceJob(identity_of(record), record.parent("variant"), tuple(record.parents["trials"]))


STORED_JOBS: Mapping[str, Callable[[StoredJobs, Record], Job]] = {
    "outliers": _outliers,
    "spectra": _spectra,
    "block_values": _block_values,
    "layer_errors": _layer_errors,
    "lrp2_choices": _pair_choice,
    "comparisons": _of_evaluations(comparison),
    "rank_consistency": _of_evaluations(rank_consistency),
    "answers": _answer,
    "seed_components": _of_evaluations(seed_components),
    "choices": _choice,
    "sensitivities": _sensitivity,
    "mask_overlaps": _mask_overlap,
    "expert_overlaps": _expert_overlap,
    "feature_overlaps": _feature_overlap,
    "neuron_removals": _neuron_removals,
}
"""Kind of records -> function that makes the job of one of them again."""

WITH_WEIGHTS = ("outliers", "spectra", "block_values", "layer_errors")
"""Kinds whose jobs read the weights of the base model."""
