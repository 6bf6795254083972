"""Plan the counts of neurons and the influence of blocks: one dense pass over a demonstration set each."""

from collections.abc import Iterable
from typing import TypeVar

from mlprune.recipe import Recipe
from mlprune.steps.demonstrate.plan import PlannedSets
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import computed_parameters, make_identity
from mlprune.steps.observe.block_influence import BlockInfluenceJob
from mlprune.steps.observe.dense_pass import DensePassJob
from mlprune.steps.observe.neurons import NeuronActivityJob

PassJob = TypeVar("PassJob", bound=DensePassJob)


def neuron_jobs(recipe: Recipe, inputs: Inputs, sets: PlannedSets) -> list[NeuronActivityJob]:
    """One job per distinct set with a name in `analyses.neurons`, or in `neurons` of a variant."""
    of_variants = [name for entry in recipe.variants if entry.neurons is not None for name in entry.neurons.sets]
    return activity_jobs(recipe, inputs, sets, names=(*recipe.analyses.neurons, *of_variants))


def activity_jobs(
    recipe: Recipe, inputs: Inputs, sets: PlannedSets, *, names: Iterable[str]
) -> list[NeuronActivityJob]:
    """One job per distinct set with one of the names, which counts how often each neuron fires."""
    return _jobs(NeuronActivityJob, "neuron_activity", recipe, inputs, sets, names=names)


def influence_jobs(recipe: Recipe, inputs: Inputs, sets: PlannedSets) -> list[BlockInfluenceJob]:
    """One job per distinct set that a `sensitivity` entry names."""
    names = [name for config in recipe.sensitivity for name in config.influence]
    return _jobs(BlockInfluenceJob, "block_influence", recipe, inputs, sets, names=names)


def _jobs(
    job_type: type[PassJob], kind: str, recipe: Recipe, inputs: Inputs, sets: PlannedSets, *, names: Iterable[str]
) -> list[PassJob]:
    """Return one job per distinct set with one of the names."""
    set_ids = dict.fromkeys(planned.id for name in names for planned in sets[name])
    batch_tokens = recipe.compute.planned_batch_tokens(inputs.model.device)
    parameters = computed_parameters(inputs.model, batch_tokens=batch_tokens)
    return [
        job_type(
            make_identity(kind, parameters, parents={"base_model": inputs.base.id, "demonstration_set": set_id}),
            inputs.model,
            set_id,
            batch_tokens=batch_tokens,
        )
        for set_id in set_ids
    ]
