"""Plan sensitivity analyses: the probes, their evaluations, and the jobs that compare them.

A probe is the variant of the same entry written by hand, with a scope of one unit. Probes are planned from the first
block on, so that an evaluation starts with the states that those before it kept. The masks of all probes of an
analysis come from one ordering of its sparsities.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mlprune.capabilities.capability import Planned
from mlprune.capabilities.sensitivity.keys import SensitivityConfig, tasks_of
from mlprune.capabilities.sensitivity.losses import SensitivityJob, Unit, measured_groups, units_of
from mlprune.errors import RecipeError
from mlprune.evaluation.inference.aggregates import AGGREGATED
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.pruning.spec import Scope
from mlprune.recipe.evaluations import EvaluationConfig, evaluations_of_task
from mlprune.recipe.models import Recipe
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.choices.choice import metric_of
from mlprune.steps.compare.differences import main_language
from mlprune.steps.evaluate.evaluation_plan import plan_evaluations
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Job
from mlprune.steps.loss_records import LossRecord
from mlprune.steps.observe.block_influence import BlockInfluenceJob
from mlprune.steps.observe.dense_pass import pass_jobs
from mlprune.steps.probes import Evaluations, ProbedLosses, Probes
from mlprune.steps.prune.composed import trial_jobs
from mlprune.steps.prune.requested_variants import plan_variants
from mlprune.steps.sets import DemonstrationPlan
from mlprune.steps.tasks.evaluation import EvaluationSpec, families_of
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.vocabulary import UnitName, computable_metrics


@dataclass(frozen=True)
class PlannedProbe:
    """A probe with the keys by which its analysis finds it."""

    by: UnitName
    sparsity: float
    unit: Unit
    variant: PlannedVariant


def plan_probes(planned: Planned) -> Probes:
    """Plan the analyses of a recipe; nothing if it has none.

    Raises:
        RecipeError: a probe or an evaluation is impossible with the model, the sets or the items.
    """
    recipe, inputs, sets = planned.recipe, planned.inputs, planned.sets
    variants: dict[str, PlannedVariant] = {}
    evaluations: dict[str, dict[str, EvaluationSpec]] = {}
    variant_jobs: dict[object, Job] = {}
    losses: list[ProbedLosses] = []
    of_influence = [name for config in recipe.sensitivity for name in config.influence]
    for config in recipe.sensitivity:
        derived = recipe.model_copy(update={"evaluations": _evaluations(recipe, config)})
        probes = sorted(_probes(derived, inputs, config, sets=sets), key=lambda probe: probe.unit.block or 0)
        of_config = {probe.variant.id: probe.variant for probe in probes}
        dense = next(iter(plan_variants(_with_variants(derived, ()), inputs, sets.by_profile).values()))
        of_variants = plan_evaluations(derived, inputs, {dense.id: dense, **of_config})
        for variant, specs in of_variants.items():
            evaluations.setdefault(variant, {}).update({spec.identity.id: spec for spec in specs})
        variant_jobs |= {job.makes: job for job in trial_jobs(derived, inputs, of_config, levels=config.sparsity)}
        variants = {**of_config, **variants}
        losses += (_losses(config.name, job) for job in _jobs(config, probes, of_variants, dense_id=dense.id))
    return Probes(
        "sensitivity",
        variants,
        {variant: tuple(specs.values()) for variant, specs in evaluations.items()},
        tuple(variant_jobs.values()),
        tuple(pass_jobs(BlockInfluenceJob, "block_influence", recipe, inputs, sets.default, names=of_influence)),
        tuple(losses),
    )


def _evaluations(recipe: Recipe, config: SensitivityConfig) -> tuple[EvaluationConfig, ...]:
    """Return the evaluations of the tasks of an analysis, for all variants."""
    tasks = tasks_of(config, recipe.evaluations)
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


def _jobs(
    config: SensitivityConfig, probes: list[PlannedProbe], evaluations: Evaluations, *, dense_id: str
) -> Iterator[SensitivityJob]:
    """Yield a job for every kind of unit, sparsity and task.

    Raises:
        RecipeError: a task does not have the metric of the analysis.
    """
    families = {variant: families_of(specs) for variant, specs in evaluations.items()}
    groups: dict[tuple[UnitName, float], list[PlannedProbe]] = {}
    for probe in probes:
        groups.setdefault((probe.by, probe.sparsity), []).append(probe)
    for (by, sparsity), of_group in groups.items():
        for family, of_dense in families[dense_id].items():
            yield SensitivityJob(
                by,
                sparsity,
                _metric(config, family),
                tuple(families[probe.variant.id][family][language] for probe in of_group for language in of_dense),
                tuple(of_dense.values()),
                tuple(probe.unit for probe in of_group),
            )


def _metric(config: SensitivityConfig, task: TaskSpec) -> str:
    """Return the metric of the losses in a task.

    Raises:
        RecipeError: the task does not have it, or it is not compared over groups of languages.
    """
    if config.metric is None:
        return metric_of(task)
    known = [name for name in computable_metrics(task.task, task.definition.reads) if name in AGGREGATED]
    if config.metric not in known:
        context = {"entry": config.name, "key": "metric", "task": task.task, "expected": known, "got": config.metric}
        raise RecipeError("no such metric of a task of the analysis", context)
    return config.metric


def _losses(name: str, job: SensitivityJob) -> ProbedLosses:
    languages = {evaluation.task.language: main_language(evaluation.task) for evaluation in job.dense}
    groups = tuple((group.kind, group.name) for group in measured_groups(job.metric, languages))
    record = LossRecord(name, job.units, job.sparsity, job.dense[0].task.task, groups, job.identity.id)
    return ProbedLosses(record, job, tuple(probe.variant_id for probe in job.probes), job.probes[0].evaluations)
