"""Plan sensitivity analyses: the probes, their evaluations, and the jobs that compare them.

A probe is the variant of the same entry written by hand, with a scope of one unit. Probes are planned from the first
block on, so that an evaluation starts with the states that those before it kept. The masks of all probes of an
analysis come from one ordering of its sparsities. Probes are compared with dense by their analysis only, and are no
candidates of choices.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.pruning.spec import Scope
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.models import Recipe
from mlprune.recipe.searches.search import SensitivityConfig
from mlprune.recipe.searches.search_checks import evaluations_of_task
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.choices.choice import metric_of
from mlprune.steps.compare.differences import main_language
from mlprune.steps.evaluate.model_evaluation import evaluation_jobs, plan_evaluations
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Job
from mlprune.steps.loss_records import LossRecord
from mlprune.steps.observe.block_influence import BlockInfluenceJob, influence_jobs
from mlprune.steps.prune.composed import trial_jobs
from mlprune.steps.prune.mask_jobs import variant_jobs
from mlprune.steps.prune.requested_variants import plan_variants
from mlprune.steps.sensitivity.losses import SensitivityJob, Unit, measured_groups, units_of
from mlprune.steps.sets import DemonstrationPlan
from mlprune.steps.tasks.evaluation import EvaluationSpec, families_of
from mlprune.steps.tasks.item_flow import described_items
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.vocabulary import UnitName

Evaluations = Mapping[str, tuple[EvaluationSpec, ...]]
"""Variant id -> its evaluations."""


@dataclass(frozen=True)
class PlannedProbe:
    """A probe with the keys by which its analysis finds it."""

    by: UnitName
    sparsity: float
    unit: Unit
    variant: PlannedVariant


@dataclass(frozen=True)
class PlannedSensitivity:
    """All sensitivity analyses of a recipe."""

    variants: Mapping[str, PlannedVariant] = field(default_factory=dict)
    """Id -> probe, without dense."""
    evaluations: Evaluations = field(default_factory=dict)
    """Of the probes and of dense."""
    variant_jobs: tuple[Job, ...] = ()
    """The jobs that make the probes."""
    influence_jobs: tuple[BlockInfluenceJob, ...] = ()
    jobs: tuple[SensitivityJob, ...] = ()
    losses: tuple[LossRecord, ...] = ()
    """The records of these jobs, with the values of the recipe that identify them."""


def plan_sensitivity(recipe: Recipe, inputs: Inputs, sets: DemonstrationPlan) -> PlannedSensitivity:
    """Plan the analyses of a recipe; nothing if it has none.

    Raises:
        RecipeError: a probe or an evaluation is impossible with the model, the sets or the items.
    """
    variants: dict[str, PlannedVariant] = {}
    evaluations: dict[str, dict[str, EvaluationSpec]] = {}
    variant_jobs: dict[object, Job] = {}
    jobs: dict[str, SensitivityJob] = {}
    losses: list[LossRecord] = []
    for config in recipe.sensitivity:
        derived = recipe.model_copy(update={"evaluations": _evaluations(recipe, config)})
        probes = sorted(_probes(derived, inputs, config, sets=sets), key=lambda probe: probe.unit.block or 0)
        planned = {probe.variant.id: probe.variant for probe in probes}
        dense = next(iter(plan_variants(_with_variants(derived, ()), inputs, sets.by_profile).values()))
        of_variants = plan_evaluations(derived, inputs, {dense.id: dense, **planned})
        for variant, specs in of_variants.items():
            evaluations.setdefault(variant, {}).update({spec.identity.id: spec for spec in specs})
        of_config = trial_jobs(derived, inputs, planned, levels=config.sparsity)
        variant_jobs |= {job.makes: job for job in of_config}
        variants = {**planned, **variants}
        for job in _jobs(probes, of_variants, dense_id=dense.id):
            jobs[job.identity.id] = job
            losses.append(_loss_record(config.name, job))
    return PlannedSensitivity(
        variants,
        {variant: tuple(specs.values()) for variant, specs in evaluations.items()},
        tuple(variant_jobs.values()),
        tuple(influence_jobs(recipe, inputs, sets.default)),
        tuple(jobs.values()),
        tuple(losses),
    )


def _evaluations(recipe: Recipe, config: SensitivityConfig) -> tuple[EvaluationConfig, ...]:
    """Return the evaluations of the tasks of an analysis, for all variants."""
    on_split = (entry.task for entry in recipe.evaluations if entry.split == config.split)
    tasks = config.tasks or tuple(dict.fromkeys(on_split))
    return tuple(entry for task in tasks for entry in evaluations_of_task(recipe.evaluations, task, split=config.split))


def _probes(
    recipe: Recipe, inputs: Inputs, config: SensitivityConfig, *, sets: DemonstrationPlan
) -> Iterator[PlannedProbe]:
    """Yield the probes of every kind of unit and sparsity."""
    layers = architecture_at(inputs.model.path).layers
    for by in config.by:
        units = units_of(by, Scope(), n_blocks=inputs.model.n_blocks, layers=layers)
        for sparsity in config.sparsity:
            entries = [_entry(config, unit, sparsity=sparsity) for unit in units]
            for unit, entry in zip(units, entries, strict=True):
                planned = plan_variants(_with_variants(recipe, (entry,)), inputs, sets.by_profile)
                (variant,) = (one for one in planned.values() if not one.is_dense)
                yield PlannedProbe(by, sparsity, unit, variant)


def _with_variants(recipe: Recipe, entries: tuple[VariantConfig, ...]) -> Recipe:
    return recipe.model_copy(update={"variants": entries})


def _entry(config: SensitivityConfig, unit: Unit, *, sparsity: float) -> VariantConfig:
    """Return the variant entry in which only one unit is pruned."""
    scope: dict[str, object] = {} if unit.block is None else {"blocks": [unit.block]}
    scope |= {} if unit.layer is None else {"layers": [unit.layer]}
    name = f"{config.name}: {unit.name} at {sparsity:g}"
    return VariantConfig.model_validate({**config.base, "name": name, "sparsity": sparsity, "scope": scope})


def _jobs(probes: list[PlannedProbe], evaluations: Evaluations, *, dense_id: str) -> Iterator[SensitivityJob]:
    """Yield a job for every kind of unit, sparsity and task."""
    families = {variant: families_of(specs) for variant, specs in evaluations.items()}
    groups: dict[tuple[UnitName, float], list[PlannedProbe]] = {}
    for probe in probes:
        groups.setdefault((probe.by, probe.sparsity), []).append(probe)
    for (by, sparsity), of_group in groups.items():
        for family, of_dense in families[dense_id].items():
            yield SensitivityJob(
                by,
                sparsity,
                metric_of(family),
                tuple(families[probe.variant.id][family][language] for probe in of_group for language in of_dense),
                tuple(of_dense.values()),
                tuple(probe.unit for probe in of_group),
            )


def _loss_record(name: str, job: SensitivityJob) -> LossRecord:
    languages = {evaluation.task.language: main_language(evaluation.task) for evaluation in job.dense}
    groups = measured_groups(job.metric, languages)
    return LossRecord(
        name,
        job.units,
        job.sparsity,
        job.dense[0].task.task,
        tuple((group.kind, group.name) for group in groups),
        job.identity.id,
    )


def with_probes(evaluations: Evaluations, planned: PlannedSensitivity) -> Evaluations:
    """Return the evaluations of a recipe together with those of its probes, each once."""
    merged = {
        variant: {spec.identity.id: spec for spec in (*evaluations.get(variant, ()), *specs)}
        for variant, specs in planned.evaluations.items()
    }
    return {**evaluations, **{variant: tuple(specs.values()) for variant, specs in merged.items()}}


def sensitivity_jobs(
    recipe: Recipe,
    inputs: Inputs,
    planned: PlannedSensitivity,
    *,
    variants: Mapping[str, PlannedVariant],
    evaluations: Evaluations,
) -> list[Job]:
    """Return the jobs that measure losses: before those of the variants, whose schedules may read them.

    Args:
        variants: of the recipe.
        evaluations: of `with_probes`.
    """
    if not planned.jobs:
        return list(planned.influence_jobs)
    dense = {key: variant for key, variant in variants.items() if variant.is_dense}
    of_probes = {variant: evaluations[variant] for variant in planned.evaluations}
    return [
        *planned.influence_jobs,
        *variant_jobs(recipe, inputs, dense),
        *planned.variant_jobs,
        *described_items(spec for specs in of_probes.values() for spec in specs),
        *evaluation_jobs(recipe, {**planned.variants, **dense}, of_probes, share_blocks=True),
        *planned.jobs,
    ]
