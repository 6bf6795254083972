"""The stages of a plan, in order; each adds to what the ones before it planned."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import NamedTuple

from mlprune.capabilities.capability import Variants, all_capabilities
from mlprune.evaluation.tasks.hub_datasets import HubSource
from mlprune.recipe.models import Recipe
from mlprune.steps.choices.choice import choice_jobs
from mlprune.steps.compare.comparisons import comparison_jobs, feature_overlap_jobs
from mlprune.steps.compare.layer_errors import analysed_sets, layer_error_jobs
from mlprune.steps.demonstrate.planned_sets import plan_demonstrations
from mlprune.steps.evaluate.evaluation_plan import evaluated_lines, plan_evaluations
from mlprune.steps.evaluate.model_evaluation import evaluation_jobs
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Job
from mlprune.steps.observe.activations import activation_jobs
from mlprune.steps.observe.passes import PlannedObservation, plan_observation
from mlprune.steps.part import Part
from mlprune.steps.probes import Probes, probe_jobs
from mlprune.steps.prune.combine import CombineJob, add_combinations
from mlprune.steps.prune.mask_jobs import all_observations, variant_jobs
from mlprune.steps.prune.requested_variants import plan_variants
from mlprune.steps.questions.answers import answer_jobs
from mlprune.steps.questions.asked import PlannedQuestion, asked_baselines, plan_questions
from mlprune.steps.sets import DemonstrationPlan, distinct_sets
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.item_flow import described_items
from mlprune.steps.variants.planned_variant import PlannedVariant


class Name(NamedTuple):
    """A name of a recipe."""

    kind: str
    name: str
    id: str
    """Id, or the commit of a data set."""


@dataclass
class Planning:
    """What is planned of a recipe so far."""

    given: Recipe
    """The whole recipe."""
    recipe: Recipe
    """Without the entries that parts add later."""
    inputs: Inputs
    sets: DemonstrationPlan = field(default_factory=lambda: DemonstrationPlan({}))
    probes: tuple[Probes, ...] = ()
    variants: Mapping[str, PlannedVariant] = field(default_factory=dict)
    """Id -> variant, without probes."""
    evaluations: Mapping[str, tuple[EvaluationSpec, ...]] = field(default_factory=dict)
    """Variant id -> its evaluations, without those of the analyses."""
    jobs: list[Job] = field(default_factory=list)
    """Every job comes after those that it needs. Some may be there more than once."""
    names: list[Name] = field(default_factory=list)
    questions: tuple[PlannedQuestion, ...] = ()
    parts: tuple[Part, ...] = ()

    @cached_property
    def observations(self) -> list[PlannedObservation]:
        """The dense passes over the sets of the default profile."""
        return [plan_observation(self.recipe, self.inputs, planned) for planned in distinct_sets(self.sets.default)]

    @property
    def all_variants(self) -> dict[str, PlannedVariant]:
        """The variants and the probes."""
        return {**self.variants, **{key: variant for one in self.probes for key, variant in one.variants.items()}}

    @property
    def all_evaluations(self) -> Mapping[str, tuple[EvaluationSpec, ...]]:
        """The evaluations of variants and probes."""
        evaluations = self.evaluations
        for probes in self.probes:
            evaluations = probes.added_to(evaluations)
        return evaluations

    def name_variants(self, variants: Iterable[PlannedVariant]) -> None:
        """Add the names of some variants; an entry may have none."""
        for variant in variants:
            given = ["dense"] if variant.is_dense else []
            given += [entry.name for entry in variant.entries if entry.name]
            self.names += [Name("variant", name, variant.id) for name in given]

    def name_data_sets(self, sources: Iterable[HubSource | None]) -> None:
        """Add the names and commits of the hub data sets that are read."""
        repositories = (pair for source in sources if source is not None for pair in source.repositories)
        self.names += [Name("data_set", name, commit) for name, commit in repositories]


Stage = Callable[[Planning], Iterable[Job]]
"""Adds what it plans to the planning; returns its jobs, which are added in this order."""


def plan_sets(plan: Planning) -> Iterable[Job]:
    """Plan the demonstration sets, which share no line with the evaluations."""
    lines = evaluated_lines(plan.recipe, plan.inputs)
    of_kinds = {kind: partial(plan_set, plan) for one in all_capabilities() for kind, plan_set in one.sets.items()}
    plan.sets = plan_demonstrations(plan.recipe, plan.inputs, evaluated=lines, of_kinds=of_kinds)
    plan.names.append(Name("base_model", str(plan.inputs.base_row["source"]), plan.inputs.base.id))
    plan.names += [Name("demonstration_set", planned.name, planned.id) for planned in plan.sets.distinct]
    plan.name_data_sets(planned.spec.hub for planned in plan.sets.distinct)
    return [job for planned in plan.sets.distinct for job in planned.jobs]


def plan_probes(plan: Planning) -> Iterable[Job]:
    """Plan the variants whose losses the schedules of other variants may read."""
    plan.probes = tuple(capability.probe(plan) for capability in all_capabilities())
    plan.inputs = replace(plan.inputs, losses=tuple(one.record for probes in plan.probes for one in probes.losses))
    for probes in plan.probes:
        plan.name_variants(probes.variants.values())
        plan.names += [Name(probes.kind, losses.record.entry, losses.record.id) for losses in probes.losses]
    return ()


def plan_named_variants(plan: Planning) -> Iterable[Job]:
    """Plan the variants: by scores, of capabilities, combined, derived from these, and baselines."""
    recipe, inputs = plan.recipe, plan.inputs
    variants: Variants = plan_variants(recipe, inputs, plan.sets.by_profile)
    for capability in all_capabilities():
        variants = capability.variants(plan, variants)
    variants = add_combinations(recipe, inputs, variants)
    for capability in all_capabilities():
        variants = capability.derived(plan, variants)
    plan.variants = variants
    plan.name_variants(plan.variants.values())
    return ()


def plan_named_evaluations(plan: Planning) -> Iterable[Job]:
    """Plan the evaluations of the variants."""
    plan.evaluations = plan_evaluations(plan.recipe, plan.inputs, plan.variants)
    plan.name_data_sets(evaluation.task.hub for specs in plan.evaluations.values() for evaluation in specs)
    return ()


def observe(plan: Planning) -> Iterable[Job]:
    """Run the dense model over demonstration sets.

    Raises:
        RecipeError: an entry wants raw activations that do not exist, or that may exceed their quota.
    """
    recipe, inputs, sets = plan.recipe, plan.inputs, plan.sets.default
    analysed = analysed_sets(recipe, sets)
    passes = all_observations(recipe, inputs, plan.observations, plan.all_variants, products_of=analysed)
    return [
        *(job for one in passes for job in one.jobs),
        *activation_jobs(recipe, inputs, (planned for named in sets.values() for planned in named)),
        *(job for capability in all_capabilities() for job in capability.observe(plan)),
    ]


def measure_probes(plan: Planning) -> Iterable[Job]:
    """Measure the losses of the probes."""
    variants, evaluations = plan.variants.values(), plan.all_evaluations
    for probes in plan.probes:
        yield from probe_jobs(plan.recipe, plan.inputs, probes, variants=variants, evaluations=evaluations)


def make_variants(plan: Planning) -> Iterable[Job]:
    """Make the variants that are not probes; combinations come after all variants that they combine."""
    probed = {key for probes in plan.probes for key in probes.variants}
    others = {key: variant for key, variant in plan.variants.items() if key not in probed}
    masks = (job for capability in all_capabilities() for job in capability.masks(plan))
    jobs = [*variant_jobs(plan.recipe, plan.inputs, others), *masks]
    of_masks = sorted(jobs, key=lambda job: isinstance(job, CombineJob))
    of_capabilities = (job for capability in all_capabilities() for job in capability.make(plan))
    return [*of_masks, *of_capabilities]


def evaluate(plan: Planning) -> Iterable[Job]:
    """Score the variants, the base model first, so that a worker loads each model once."""
    jobs = evaluation_jobs(plan.recipe, plan.all_variants, plan.all_evaluations)
    tasks = {key: [evaluation.task for evaluation in specs] for key, specs in plan.evaluations.items()}
    return [
        *described_items(evaluation for specs in plan.evaluations.values() for evaluation in specs),
        *(job for key, variant in plan.variants.items() for job in variant.jobs(tasks[key])),
        *sorted(jobs, key=lambda job: job.chain_model != plan.inputs.model),
    ]


def compare(plan: Planning) -> Iterable[Job]:
    """Analyse and compare variants, masks and features."""
    recipe, analyses, variants = plan.recipe, plan.recipe.analyses, plan.variants.values()
    return [
        *(job for capability in all_capabilities() for job in capability.compare(plan)),
        *layer_error_jobs(recipe, plan.inputs, plan.sets.default, variants),
        *comparison_jobs(
            plan.variants,
            plan.evaluations,
            most_overlaps=analyses.mask_overlaps,
            mask_pairs=analyses.mask_pairs,
            asked=asked_baselines(recipe),
        ),
        *feature_overlap_jobs(
            plan.inputs, plan.observations, shares=analyses.overlap_shares, profiles=analyses.profile
        ),
    ]


def choose(plan: Planning) -> Iterable[Job]:
    """Choose variants on dev."""
    return choice_jobs(plan.variants, plan.evaluations)


def answer(plan: Planning) -> Iterable[Job]:
    """Plan the questions, whose answers follow from the comparisons and choices."""
    plan.questions = plan_questions(plan.recipe, plan.inputs, plan.variants, jobs=plan.jobs)
    return answer_jobs(plan.questions)


def plan_parts(plan: Planning) -> Iterable[Job]:
    """Plan the parts, whose jobs follow from results."""
    found = (capability.part(plan) for capability in all_capabilities())
    plan.parts = tuple(part for part in found if part is not None)
    plan.names += [Name(*name) for part in plan.parts for name in part.names]
    return ()


STAGES: Sequence[Stage] = (
    plan_sets,
    plan_probes,
    plan_named_variants,
    plan_named_evaluations,
    observe,
    measure_probes,
    make_variants,
    evaluate,
    compare,
    choose,
    answer,
    plan_parts,
)
"""All stages, in the order in which they plan."""
