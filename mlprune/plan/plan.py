"""The plan of a recipe: all its jobs in an order in which they can be run, and the names the recipe gives things."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mlprune.evaluation.tasks.hub_datasets import HubSource
from mlprune.recipe import Recipe
from mlprune.steps.baselines.plan import add_baselines, baseline_jobs
from mlprune.steps.compare.plan import comparison_jobs
from mlprune.steps.demonstrate.plan import PlannedSet, plan_sets
from mlprune.steps.evaluate.plan import evaluated_lines, evaluation_jobs, plan_evaluations
from mlprune.steps.inputs import Inputs, open_inputs
from mlprune.steps.job import Job, ModelRef, make_identity
from mlprune.steps.observe.activations_plan import activation_jobs
from mlprune.steps.observe.neurons_plan import neuron_jobs, removal_jobs
from mlprune.steps.prune.combine_plan import add_combinations
from mlprune.steps.prune.plan import PlannedVariant, plan_variants
from mlprune.steps.prune.plan_jobs import observations, variant_jobs
from mlprune.store.records import Record
from mlprune.vocabulary import ProfileName


@dataclass(frozen=True)
class Plan:
    """What a recipe comes to."""

    recipe: Recipe
    model: ModelRef
    jobs: tuple[Job, ...]
    """Every job stands behind those it needs."""
    variants: Mapping[str, PlannedVariant]
    record: Record
    """The names the recipe gives; written when a run starts."""

    @property
    def models(self) -> tuple[ModelRef, ...]:
        """The recipe's model, then those of its baselines."""
        return tuple(dict.fromkeys((self.model, *(one.spec.model for one in self.variants.values()))))


def build_plan(recipe: Recipe) -> Plan:
    """Open what the recipe reads and plan everything; nothing is written.

    Raises:
        BadInputError: something the recipe says or names cannot be used; the message is one line.
    """
    inputs = open_inputs(recipe)
    evaluated = evaluated_lines(recipe, inputs)
    own = plan_sets(recipe, inputs, evaluated=evaluated)
    sets: dict[ProfileName, Mapping[str, tuple[PlannedSet, ...]]] = {"corrected": own}
    if any(entry.profile == "paper" and entry.reads_statistics for entry in recipe.variants):
        sets["paper"] = plan_sets(_read_under_paper(recipe), inputs, evaluated=evaluated, profile="paper")
    variants = add_combinations(recipe, inputs, plan_variants(recipe, inputs, sets))
    variants = add_baselines(recipe, inputs, own, variants)
    evaluations = plan_evaluations(recipe, inputs, variants)
    own_sets = _distinct(own)
    all_sets = list({one.id: one for named in sets.values() for one in _distinct(named)}.values())
    observed = observations(recipe, inputs, own_sets, variants)
    jobs: list[Job] = [
        *(one.job for one in all_sets),
        *(job for one in observed for job in one.jobs),
        *activation_jobs(recipe, inputs, (one for named in own.values() for one in named)),
        *neuron_jobs(recipe, inputs, own),
        *variant_jobs(recipe, inputs, variants),
        *baseline_jobs(variants, evaluations),
        # the base model first, so that a worker loads each model once
        *sorted(evaluation_jobs(recipe, variants, evaluations), key=lambda job: job.chain_model != inputs.model),
        *removal_jobs(recipe, inputs, variants.values()),
        *comparison_jobs(
            inputs,
            observed[: len(own_sets)],
            variants,
            evaluations,
            shares=recipe.analyses.overlap_shares,
            most_overlaps=recipe.analyses.mask_overlaps,
        ),
    ]
    hubs = [one.task.hub for found in evaluations.values() for one in found] + [one.spec.hub for one in all_sets]
    names = sorted({*_names(recipe, inputs, all_sets, variants), *_hub_names(hubs)})
    return Plan(recipe, inputs.model, tuple(jobs), variants, _names_record(recipe, names))


def _read_under_paper(recipe: Recipe) -> Recipe:
    """The recipe with those demonstrations alone that variants of profile paper read, and their parts."""
    entries = [entry for entry in recipe.variants if entry.profile == "paper" and entry.reads_statistics]
    wanted = {name for entry in entries for name in (entry.demonstrations, entry.contrast, *entry.over) if name}
    waiting = list(wanted)
    while waiting:
        parts = {part for one in recipe.sets_named(waiting.pop()) for part in one.parts} - wanted
        wanted |= parts
        waiting.extend(sorted(parts))
    return recipe.model_copy(
        update={"demonstrations": tuple(one for one in recipe.demonstrations if one.name in wanted)}
    )


def _distinct(named: Mapping[str, tuple[PlannedSet, ...]]) -> list[PlannedSet]:
    """All sets, each once."""
    return list({one.id: one for group in named.values() for one in group}.values())


def _names(
    recipe: Recipe, inputs: Inputs, sets: list[PlannedSet], variants: Mapping[str, PlannedVariant]
) -> Iterator[tuple[str, str, str]]:
    """(kind, name, id) of everything that the recipe names."""
    yield "base_model", str(inputs.base_row["source"]), inputs.base.id
    for one in sets:
        yield "demonstration_set", one.name, one.id
    for variant in variants.values():
        if variant.is_dense:
            yield "variant", "dense", variant.id
        for entry in variant.entries:
            if entry.name:
                yield "variant", entry.name, variant.id


def _hub_names(sources: Iterable[HubSource | None]) -> Iterator[tuple[str, str, str]]:
    """(kind, name, commit) of the data sets of a hub that the recipe reads."""
    for source in sources:
        if source is not None:
            yield "data_set", str(source), source.commit


def _names_record(recipe: Recipe, names: list[tuple[str, str, str]]) -> Record:
    parameters = {"name": recipe.name, "names": [list(name) for name in names]}
    identity = make_identity("recipes", parameters)
    own = {"recipe": recipe.name, "kind": "recipe", "name": recipe.name, "id": identity.id}
    rows = [{"recipe": recipe.name, "kind": kind, "name": name, "id": one} for kind, name, one in names]
    return identity.record(rows={"names": [own, *rows]})
