"""The plan of a recipe: the jobs of all stages in the order in which they can run, and the names of the recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mlprune.plan.names import Name, data_set_names, names_of, recipe_record, sensitivity_names
from mlprune.plan.node_capacity import Node, accelerators_of
from mlprune.recipe import Recipe
from mlprune.recipe.searches.searched_schedules import without_searched
from mlprune.steps.baselines.plan import add_baselines, baseline_jobs
from mlprune.steps.choices.plan import choice_jobs
from mlprune.steps.compare.layer_errors import analysed_sets, layer_error_jobs
from mlprune.steps.compare.neuron_removals import removal_jobs
from mlprune.steps.compare.plan import comparison_jobs
from mlprune.steps.demonstrate.plan import distinct_sets, plan_demonstrations
from mlprune.steps.devices import local_accelerators, with_devices
from mlprune.steps.evaluate.plan import evaluated_lines, evaluation_jobs, plan_evaluations
from mlprune.steps.inputs import open_inputs
from mlprune.steps.items.jobs import item_jobs
from mlprune.steps.job import Job, ModelRef, RecordKey
from mlprune.steps.neurons.plan import add_neuron_variants, neuron_mask_jobs
from mlprune.steps.observe.plan import observation_jobs
from mlprune.steps.observe.statistics_plan import plan_observation
from mlprune.steps.prune.combine_plan import add_combinations
from mlprune.steps.prune.composed.compose_plan import distinct_jobs
from mlprune.steps.prune.plan import PlannedVariant, plan_variants
from mlprune.steps.prune.plan_jobs import all_observations, variant_jobs
from mlprune.steps.quantise.plan import add_quantised, quantise_jobs
from mlprune.steps.questions.declarations import DeclaredAfter
from mlprune.steps.questions.jobs import answer_jobs
from mlprune.steps.questions.plan import PlannedQuestion, asked_baselines, plan_questions
from mlprune.steps.search.batches import PlannedSearch, searches_of
from mlprune.steps.search.derived import SearchInputs
from mlprune.steps.search.final import PlannedFinal
from mlprune.steps.search.from_recipe import search_specs
from mlprune.steps.sensitivity.plan import plan_sensitivity
from mlprune.steps.sensitivity.stage import sensitivity_jobs, with_probes
from mlprune.store.records import Record


@dataclass(frozen=True)
class Plan:
    """All jobs of a recipe, with their ids."""

    recipe: Recipe
    """As it was given: `auto` is not replaced."""
    model: ModelRef
    jobs: tuple[Job, ...]
    """Every job comes after those that it needs."""
    variants: Mapping[str, PlannedVariant]
    names: tuple[Name, ...]
    questions: tuple[PlannedQuestion, ...] = ()
    """The declared questions, then the default ones."""
    common: SearchInputs | None = None
    """What the batches of the searches are planned from; None without searches."""
    searches: tuple[PlannedSearch, ...] = ()
    """As far as they are planned; see `extend_plan`."""
    finals: Mapping[str, PlannedFinal] = field(default_factory=dict)
    """Name of a finished search -> its report; `NAME schedule` -> the variants that have its winner's levels."""
    made: frozenset[RecordKey] = frozenset()
    """All records that the jobs make."""

    @property
    def record(self) -> Record:
        """The names and questions of the recipe, as a run that starts without any results writes them."""
        return self.record_with({})

    def record_with(self, declared: Mapping[str, DeclaredAfter]) -> Record:
        """Return the record that a run writes when it starts: questions know which results existed.

        Args:
            declared: of `declarations` in the store of the run.
        """
        return recipe_record(self.recipe, self.names, self.questions, declared)

    def final_record(self, name: str, declared: Mapping[str, DeclaredAfter]) -> Record:
        """Return the record of the names and questions of a finished search, which exist after its last batch.

        Args:
            name: of the search.
            declared: of `declarations` in the store of the run, before the jobs of the report.
        """
        final = self.finals[name]
        names = [Name("variant", *named) for named in final.names]
        return recipe_record(self.recipe, names, final.questions, declared)

    @property
    def models(self) -> tuple[ModelRef, ...]:
        """The recipe's model, then those of its baselines."""
        return tuple(dict.fromkeys((self.model, *(variant.spec.model for variant in self.variants.values()))))


def build_plan(given: Recipe, nodes: Sequence[Node] | None = None) -> Plan:
    """Open the inputs of a recipe and plan all stages; nothing is written.

    Args:
        nodes: machines of the run, which determine an automatic device and dtype; by default this machine.
    Raises:
        BadInputError: something in the recipe cannot be used; the message is one line.
    """
    recipe = without_searched(with_devices(given, local_accelerators() if nodes is None else accelerators_of(nodes)))
    inputs = open_inputs(recipe)
    sets = plan_demonstrations(recipe, inputs, evaluated=evaluated_lines(recipe, inputs))
    sensitivity = plan_sensitivity(recipe, inputs, sets)
    inputs = replace(inputs, losses=sensitivity.losses)
    variants = plan_variants(recipe, inputs, sets.by_profile)
    variants = add_neuron_variants(recipe, inputs, sets.default, variants)
    variants = add_quantised(add_combinations(recipe, inputs, variants))
    variants = add_baselines(recipe, inputs, sets.default, variants)
    evaluations = plan_evaluations(recipe, inputs, variants)
    recipe_observations = [plan_observation(recipe, inputs, planned) for planned in distinct_sets(sets.default)]
    with_all = {**variants, **sensitivity.variants}
    analysed = analysed_sets(recipe, sets.default)
    observed = all_observations(recipe, inputs, recipe_observations, with_all, products_of=analysed)
    evaluated = with_probes(evaluations, sensitivity)
    jobs: tuple[Job, ...] = (
        *(job for planned in sets.distinct for job in planned.jobs),
        *observation_jobs(recipe, inputs, sets.default, observed),
        *sensitivity_jobs(recipe, inputs, sensitivity, variants=variants, evaluations=evaluated),
        *variant_jobs(recipe, inputs, {key: one for key, one in variants.items() if key not in sensitivity.variants}),
        *neuron_mask_jobs(variants.values()),
        *quantise_jobs(variants.values()),
        *item_jobs(evaluation for specs in evaluations.values() for evaluation in specs),
        *baseline_jobs(variants, evaluations),
        # the base model first, so that a worker loads each model once
        *sorted(evaluation_jobs(recipe, with_all, evaluated), key=lambda job: job.chain_model != inputs.model),
        *removal_jobs(recipe, inputs, variants.values()),
        *layer_error_jobs(recipe, inputs, sets.default, variants.values()),
        *comparison_jobs(
            inputs,
            recipe_observations,
            variants,
            evaluations,
            shares=recipe.analyses.overlap_shares,
            profiles=recipe.analyses.profile,
            most_overlaps=recipe.analyses.mask_overlaps,
            mask_pairs=recipe.analyses.mask_pairs,
            asked=asked_baselines(recipe),
        ),
        *choice_jobs(variants, evaluations),
    )
    questions = plan_questions(recipe, inputs, variants, jobs=jobs)
    jobs = tuple(distinct_jobs((*jobs, *answer_jobs(questions))))
    hub_sources = [evaluation.task.hub for specs in evaluations.values() for evaluation in specs]
    hub_sources += [planned.spec.hub for planned in sets.distinct]
    names = [*names_of(inputs, sets.distinct, (*variants.values(), *sensitivity.variants.values()))]
    names += [*sensitivity_names(sensitivity.losses), *data_set_names(hub_sources)]
    common = SearchInputs(recipe, inputs, sets) if recipe.searches else None
    searches = searches_of(search_specs(recipe, inputs, sets))
    names += [Name("search", search.spec.name, search.id) for search in searches]
    made = frozenset(key for job in jobs for key in job.makes)
    return Plan(given, inputs.model, jobs, variants, tuple(names), questions, common, searches, made=made)
