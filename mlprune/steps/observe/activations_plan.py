"""Plan the raw activations to store, and refuse what may exceed its quota."""

from collections.abc import Iterable

from mlprune.errors import RecipeError, unknown
from mlprune.json_values import JsonValue
from mlprune.models.placement.memory_estimate import gib_rounded_up
from mlprune.recipe import Recipe
from mlprune.recipe.demonstrations import ActivationsConfig
from mlprune.steps.demonstrate.plan import PlannedSet
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import computed_parameters, make_identity
from mlprune.steps.observe.activations import STORED_BYTES, ActivationsJob
from mlprune.steps.observe.statistics_plan import input_widths, split_demonstrations


def activation_jobs(recipe: Recipe, inputs: Inputs, sets: Iterable[PlannedSet]) -> list[ActivationsJob]:
    """One job per distinct set whose entry has `activations`.

    Raises:
        RecipeError: the model does not have a block or input that an entry names, an entry wants more demonstrations
            than its set has, or its activations may exceed its quota.
    """
    jobs = (_job(recipe, inputs, planned, planned.activations) for planned in sets if planned.activations is not None)
    return list({job.identity.id: job for job in jobs}.values())


def _job(recipe: Recipe, inputs: Inputs, planned: PlannedSet, config: ActivationsConfig) -> ActivationsJob:
    blocks, names = _chosen(inputs, planned, config)
    spec = planned.spec
    samples = spec.samples if config.samples is None else config.samples
    if samples > spec.samples:
        message = "activations would need more demonstrations than the set has"
        raise RecipeError(message, demonstrations=planned.name, expected=f"at most {spec.samples}", got=samples)
    widths = input_widths(inputs.model)
    token_bytes = STORED_BYTES[config.dtype] * len(blocks) * sum(widths[name] for name in names)
    max_bytes = min(samples * spec.max_tokens, spec.token_budget or samples * spec.max_tokens) * token_bytes
    if max_bytes > config.quota_gib * 2**30:
        raise RecipeError(
            "raw activations may exceed their quota",
            demonstrations=planned.name,
            expected=f"quota_gib: {gib_rounded_up(max_bytes, digits=3)}, or fewer blocks, inputs or samples",
            got=config.quota_gib,
        )
    parts = tuple(split_demonstrations(samples, max_tokens=spec.max_tokens, n_bytes=spec.max_tokens * token_bytes))
    batch_tokens = recipe.compute.planned_batch_tokens(inputs.model.device)
    parameters: dict[str, JsonValue] = {
        "blocks": list(blocks),
        "inputs": list(names),
        "samples": samples,
        "stored_dtype": config.dtype,
        **computed_parameters(inputs.model, batch_tokens=batch_tokens),
        "parts": len(parts),
    }
    parents = {"base_model": inputs.base.id, "demonstration_set": planned.id}
    return ActivationsJob(
        make_identity("activations", parameters, parents=parents),
        inputs.model,
        planned.id,
        set_name=planned.name,
        blocks=blocks,
        inputs=names,
        parts=parts,
        dtype=config.dtype,
        batch_tokens=batch_tokens,
        most_bytes=max_bytes,
        quota_gib=config.quota_gib,
    )


def _chosen(inputs: Inputs, planned: PlannedSet, config: ActivationsConfig) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Blocks and inputs in the model's order."""
    all_blocks, all_inputs = range(inputs.model.n_blocks), tuple(input_widths(inputs.model))
    for block in config.blocks:
        if block not in all_blocks:
            expected = f"0 to {all_blocks[-1]}"
            raise RecipeError("the model has no such block", demonstrations=planned.name, expected=expected, got=block)
    for name in config.inputs:
        if name not in all_inputs:
            raise unknown("input of a block", name, all_inputs, error=RecipeError, demonstrations=planned.name)
    blocks = tuple(block for block in all_blocks if block in (config.blocks or all_blocks))
    return blocks, tuple(name for name in all_inputs if name in (config.inputs or all_inputs))
