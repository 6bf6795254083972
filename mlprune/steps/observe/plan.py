"""Plan everything that observes the dense model: statistics, raw activations and neuron activity."""

from collections.abc import Iterable

from mlprune.recipe import Recipe
from mlprune.steps.demonstrate.plan import PlannedSets
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Job
from mlprune.steps.observe.activations_plan import activation_jobs
from mlprune.steps.observe.dense_pass_plan import neuron_jobs
from mlprune.steps.observe.statistics_plan import PlannedObservation


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
