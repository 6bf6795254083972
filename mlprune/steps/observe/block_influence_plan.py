"""Plan the influence of blocks on the demonstration sets that a recipe's `sensitivity` names."""

from collections.abc import Iterable, Mapping

from mlprune.recipe import Recipe
from mlprune.steps.demonstrate.plan import PlannedSet
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import computed_parameters, make_identity
from mlprune.steps.observe.block_influence import BlockInfluenceJob


def influence_jobs(
    recipe: Recipe, inputs: Inputs, sets: Mapping[str, tuple[PlannedSet, ...]], *, names: Iterable[str]
) -> list[BlockInfluenceJob]:
    """Return one job per distinct set with one of the names."""
    set_ids = dict.fromkeys(planned.id for name in names for planned in sets[name])
    batch_tokens = recipe.compute.planned_batch_tokens(inputs.model.device)
    parameters = computed_parameters(inputs.model, batch_tokens=batch_tokens)
    return [
        BlockInfluenceJob(
            make_identity(
                "block_influence", parameters, parents={"base_model": inputs.base.id, "demonstration_set": set_id}
            ),
            inputs.model,
            set_id,
            batch_tokens=batch_tokens,
        )
        for set_id in set_ids
    ]
