"""The plan of a recipe: the jobs of all stages in order, its names, and batches of searches."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from mlprune.evaluation.tasks.hub_datasets import HubSource
from mlprune.json_values import JsonValue
from mlprune.plan.resources.node_capacity import Node, accelerators_of
from mlprune.recipe import Recipe
from mlprune.recipe.models import without_searched
from mlprune.steps.baselines.baselines import add_baselines, baseline_jobs
from mlprune.steps.choices.choice import choice_jobs
from mlprune.steps.compare.analyses import analysed_sets, layer_error_jobs, removal_jobs
from mlprune.steps.compare.comparisons import comparison_jobs
from mlprune.steps.demonstrate.planned_sets import plan_demonstrations
from mlprune.steps.evaluate.model_evaluation import EvaluateJob, evaluated_lines, evaluation_jobs, plan_evaluations
from mlprune.steps.inputs import Inputs, local_accelerators, open_inputs, with_devices
from mlprune.steps.job import Job, ModelRef, RecordKey, make_identity
from mlprune.steps.loss_records import LossRecord
from mlprune.steps.neurons import add_neuron_variants, neuron_mask_jobs
from mlprune.steps.observe.activations import activation_jobs
from mlprune.steps.observe.hidden_states import neuron_jobs
from mlprune.steps.observe.passes import PlannedObservation, plan_observation
from mlprune.steps.prune.combine import add_combinations
from mlprune.steps.prune.composed import distinct_jobs
from mlprune.steps.prune.mask_jobs import all_observations, variant_jobs
from mlprune.steps.prune.requested_variants import plan_variants
from mlprune.steps.quantise import add_quantised, quantise_jobs
from mlprune.steps.questions.answers import answer_jobs
from mlprune.steps.questions.asked import (
    DeclaredAfter,
    PlannedQuestion,
    asked_baselines,
    declaration_parameters,
    plan_questions,
    question_rows,
)
from mlprune.steps.search.batches import PlannedSearch, plan_batch, searches_of
from mlprune.steps.search.final import PlannedFinal, plan_final
from mlprune.steps.search.from_recipe import plan_searched, search_specs
from mlprune.steps.search.spec import SearchInputs, is_made
from mlprune.steps.sensitivity.probes import plan_sensitivity, sensitivity_jobs, with_probes
from mlprune.steps.sets import PlannedSet, PlannedSets, distinct_sets
from mlprune.steps.tasks.stored_items import item_jobs
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.store.records import Record
from mlprune.store.store import Store


class Name(NamedTuple):
    """A name of a recipe."""

    kind: str
    name: str
    id: str
    """Id, or the commit of a data set."""


def recipe_record(
    recipe: Recipe,
    names: Iterable[Name],
    questions: Sequence[PlannedQuestion],
    declared: Mapping[str, DeclaredAfter],
) -> Record:
    """Return the record of a recipe's names and questions.

    Args:
        declared: see `question_rows`.
    """
    distinct = sorted(set(names))
    parameters: dict[str, JsonValue] = {"name": recipe.name, "names": [list(name) for name in distinct]}
    if questions:
        parameters["questions"] = list(declaration_parameters(questions, declared))
    identity = make_identity("recipes", parameters)
    all_names = [Name("recipe", recipe.name, identity.id), *distinct]
    name_rows = [{"recipe": recipe.name, **name._asdict()} for name in all_names]
    return identity.record(rows={"names": name_rows, **question_rows(recipe.name, questions, declared)})


def names_of(inputs: Inputs, sets: Iterable[PlannedSet], variants: Iterable[PlannedVariant]) -> Iterator[Name]:
    """The names of the base model, of the demonstration sets and of the variants."""
    yield Name("base_model", str(inputs.base_row["source"]), inputs.base.id)
    for planned in sets:
        yield Name("demonstration_set", planned.name, planned.id)
    for variant in variants:
        if variant.is_dense:
            yield Name("variant", "dense", variant.id)
        for entry in variant.entries:
            if entry.name:
                yield Name("variant", entry.name, variant.id)


def sensitivity_names(losses: Iterable[LossRecord]) -> Iterator[Name]:
    """The names of the sensitivity analyses."""
    for record in losses:
        yield Name("sensitivity", record.entry, record.id)


def data_set_names(sources: Iterable[HubSource | None]) -> Iterator[Name]:
    """The names and commits of the hub data sets that a recipe reads."""
    for source in sources:
        for name, commit in source.repositories if source is not None else ():
            yield Name("data_set", name, commit)


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


def extend_plan(plan: Plan, store: Store) -> Plan:
    """Return a plan with all jobs of its searches that the results in the store allow; nothing is written.

    A search whose last batch has its results gets its next batch. A search without a next batch gets the report of its
    winner, and the variants whose schedule it is. The same results give the same jobs, except that variants in the
    store are not made again. Jobs that the plan has already are not added.

    Raises:
        RecipeError: a point of a search is not one variant, or an entry with schedule search has another sparsity than
            the winner.
    """
    if plan.common is None or not plan.searches:
        return plan
    extension = _Extension(plan, store)
    searches = [extension.continued(search) for search in plan.searches]
    finals = dict(plan.finals)
    by_name = {search.spec.name: search for search in searches}
    for search in searches:
        rival = by_name.get(f"{search.spec.name}-random") if "random" in search.spec.compare else None
        is_ready = search.is_finished and (rival is None or rival.is_finished)
        if is_ready and search.spec.name not in finals and search.is_reported:
            finals[search.spec.name] = extension.report_of(search, rival)
        key = f"{search.spec.name} schedule"
        searched = extension.searched_by(search) if search.is_finished and key not in finals else None
        if searched is not None:
            finals[key] = searched
    jobs, made = (*plan.jobs, *extension.jobs), plan.made | extension.made
    return replace(plan, jobs=jobs, searches=tuple(searches), finals=finals, made=made)


class _Extension:
    """The jobs that are added to a plan."""

    def __init__(self, plan: Plan, store: Store) -> None:
        assert plan.common is not None, "the plan has searches"
        self.jobs: list[Job] = []
        self.made: set[RecordKey] = set()
        """Records that they make."""
        self._common = plan.common
        self._given = plan.recipe
        self._store = store
        self._made_by_plan = plan.made

    def continued(self, search: PlannedSearch) -> PlannedSearch:
        """Return a search with all batches that can be planned; their jobs are added."""
        search = search.with_results(self._store)
        while not search.is_finished and not search.is_waiting:
            search, jobs = plan_batch(self._common, search, is_known=self._is_known)
            self._add(jobs)
            search = search.with_results(self._store)
        return search

    def report_of(self, search: PlannedSearch, rival: PlannedSearch | None) -> PlannedFinal:
        """Return the report of a finished search; its jobs are added."""
        final = plan_final(self._common, search, rival, is_known=self._is_known)
        self._add(final.jobs)
        return final

    def searched_by(self, search: PlannedSearch) -> PlannedFinal | None:
        """Return the variants with the levels of a finished search's winner, if there are any; their jobs are added."""
        planned = plan_searched(self._given, self._common, search, is_known=self._is_known)
        self._add(planned.jobs if planned else ())
        return planned

    def _is_known(self, variant_id: str) -> bool:
        return self._is_planned(("variants", variant_id)) or is_made(self._store, variant_id)

    def _is_planned(self, key: RecordKey) -> bool:
        return key in self._made_by_plan or key in self.made

    def _add(self, jobs: Iterable[Job]) -> None:
        """Add jobs without those whose records are made already, in the plan."""
        for job in map(self._remaining, jobs):
            if not all(map(self._is_planned, job.makes)):
                self.jobs.append(job)
                self.made.update(job.makes)

    def _remaining(self, job: Job) -> Job:
        """Return a job without the evaluations that another job makes."""
        if not isinstance(job, EvaluateJob):
            return job
        return job.without({key[1] for key in job.makes if self._is_planned(key)})


def observation_jobs(
    recipe: Recipe, inputs: Inputs, sets: PlannedSets, observations: Iterable[PlannedObservation]
) -> list[Job]:
    """All jobs that run the dense model over demonstration sets.

    Args:
        sets: the sets of the recipe in the default profile.
        observations: the dense passes for statistics.
    Raises:
        RecipeError: an entry wants raw activations that do not exist, or that may exceed their quota.
    """
    return [
        *(job for observation in observations for job in observation.jobs),
        *activation_jobs(recipe, inputs, (planned for named in sets.values() for planned in named)),
        *neuron_jobs(recipe, inputs, sets),
    ]
