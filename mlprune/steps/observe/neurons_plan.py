"""Plan whose neurons are counted: the demonstration sets, and the variants, that a recipe's analyses name."""

from collections.abc import Iterable, Mapping

from mlprune.recipe import Recipe
from mlprune.steps.demonstrate.plan import PlannedSet
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import make_identity
from mlprune.steps.observe.neurons import NeuronActivityJob, NeuronRemovalsJob
from mlprune.steps.prune.plan import PlannedVariant


def neuron_jobs(recipe: Recipe, inputs: Inputs, sets: Mapping[str, tuple[PlannedSet, ...]]) -> list[NeuronActivityJob]:
    """A job for every set of the names in `analyses.neurons`, each once."""
    wanted = {one.id: one for name in recipe.analyses.neurons for one in sets[name]}
    batch_tokens = recipe.compute.planned_batch_tokens
    parameters = {"dtype": inputs.model.dtype, "batch_tokens": batch_tokens}
    return [
        NeuronActivityJob(
            make_identity(
                "neuron_activity", parameters, parents={"base_model": inputs.base.id, "demonstration_set": set_id}
            ),
            inputs.model,
            set_id,
            batch_tokens=batch_tokens,
        )
        for set_id in wanted
    ]


def removal_jobs(recipe: Recipe, inputs: Inputs, variants: Iterable[PlannedVariant]) -> list[NeuronRemovalsJob]:
    """A job for every variant of the entries in `analyses.neuron_variants`; the dense one has no masks."""
    names = set(recipe.analyses.neuron_variants)
    wanted = [one.id for one in variants if not one.is_dense and names & {entry.name for entry in one.entries}]
    return [
        NeuronRemovalsJob(make_identity("neuron_removals", parents={"variant": one}), inputs.model.family, one)
        for one in wanted
    ]
