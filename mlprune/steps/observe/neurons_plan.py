"""Plan the counts of neurons for the demonstration sets in a recipe's `analyses`."""

from collections.abc import Mapping

from mlprune.recipe import Recipe
from mlprune.steps.demonstrate.plan import PlannedSet
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import computed_parameters, make_identity
from mlprune.steps.observe.neurons import NeuronActivityJob


def neuron_jobs(recipe: Recipe, inputs: Inputs, sets: Mapping[str, tuple[PlannedSet, ...]]) -> list[NeuronActivityJob]:
    """One job per distinct set with a name in `analyses.neurons`."""
    set_ids = dict.fromkeys(planned.id for name in recipe.analyses.neurons for planned in sets[name])
    batch_tokens = recipe.compute.planned_batch_tokens(inputs.model.device)
    parameters = computed_parameters(inputs.model, batch_tokens=batch_tokens)
    return [
        NeuronActivityJob(
            make_identity(
                "neuron_activity", parameters, parents={"base_model": inputs.base.id, "demonstration_set": set_id}
            ),
            inputs.model,
            set_id,
            batch_tokens=batch_tokens,
        )
        for set_id in set_ids
    ]
