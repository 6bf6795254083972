"""Plan which raw activations are stored, and refuse what may be larger than its quota."""

from collections.abc import Iterable
from typing import Any

from mlprune.errors import RecipeError, unknown
from mlprune.recipe import Recipe
from mlprune.recipe.demonstrations import ActivationsConfig
from mlprune.steps.demonstrate.plan import PlannedSet
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import make_identity
from mlprune.steps.observe.activations import STORED_BYTES, ActivationsJob
from mlprune.steps.observe.plan import input_widths, split_demonstrations


def activation_jobs(recipe: Recipe, inputs: Inputs, sets: Iterable[PlannedSet]) -> list[ActivationsJob]:
    """The jobs that store what entries of demonstrations ask for, each once.

    Raises:
        RecipeError: an entry names a block or input that the model has not, more demonstrations than the set has, or
            what it asks for may be larger than its quota.
    """
    jobs = (_job(recipe, inputs, one, one.activations) for one in sets if one.activations is not None)
    return list({job.identity.id: job for job in jobs}.values())


def _job(recipe: Recipe, inputs: Inputs, planned: PlannedSet, config: ActivationsConfig) -> ActivationsJob:
    blocks, names = _chosen(inputs, planned, config)
    spec = planned.spec
    samples = spec.samples if config.samples is None else config.samples
    if samples > spec.samples:
        message = "activations of more demonstrations than the set has"
        raise RecipeError(message, demonstrations=planned.name, expected=f"at most {spec.samples}", got=samples)
    widths = input_widths(inputs.model)
    token_bytes = STORED_BYTES[config.dtype] * len(blocks) * sum(widths[name] for name in names)
    most = min(samples * spec.max_tokens, spec.token_budget or samples * spec.max_tokens) * token_bytes
    if most > config.quota_gib * 2**30:
        raise RecipeError(
            "raw activations may be larger than their quota",
            demonstrations=planned.name,
            expected=f"quota_gib: {_rounded_up(most)}, or fewer blocks, inputs or samples",
            got=config.quota_gib,
        )
    parts = tuple(split_demonstrations(samples, max_tokens=spec.max_tokens, n_bytes=spec.max_tokens * token_bytes))
    batch_tokens = recipe.compute.planned_batch_tokens
    parameters: dict[str, Any] = {
        "blocks": list(blocks),
        "inputs": list(names),
        "samples": samples,
        "stored_dtype": config.dtype,
        "dtype": inputs.model.dtype,
        "batch_tokens": batch_tokens,
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
        most_bytes=most,
        quota_gib=config.quota_gib,
    )


def _chosen(inputs: Inputs, planned: PlannedSet, config: ActivationsConfig) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Blocks and inputs in the model's order."""
    everything, known = range(inputs.model.n_blocks), tuple(input_widths(inputs.model))
    for block in config.blocks:
        if block not in everything:
            expected = f"0 to {everything[-1]}"
            raise RecipeError("the model has no such block", demonstrations=planned.name, expected=expected, got=block)
    for name in config.inputs:
        if name not in known:
            raise unknown("input of a block", name, known, error=RecipeError, demonstrations=planned.name)
    blocks = tuple(block for block in everything if block in (config.blocks or everything))
    return blocks, tuple(name for name in known if name in (config.inputs or known))


def _rounded_up(n_bytes: int) -> float:
    """GiB with three digits behind the point, enough for so many bytes."""
    return -(-n_bytes * 1000 // 2**30) / 1000
