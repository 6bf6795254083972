"""From an entry of a recipe to plain choices: score, reading, schedule and scope, checked against the model."""

from collections.abc import Iterable
from math import fsum
from pathlib import Path

from mlprune.errors import RecipeError, unknown
from mlprune.models.checkpoint.weight_files import WeightFiles, weight_name
from mlprune.models.families.records import FAMILIES
from mlprune.pruning.spec import (
    DEFAULT_DAMPING,
    DEFAULT_POWER,
    DEFAULT_VARIANCE_WEIGHT,
    Reading,
    Schedule,
    Scope,
    ScoreSpec,
)
from mlprune.recipe import VariantConfig
from mlprune.steps.inputs import Inputs


def score_choice(entry: VariantConfig) -> ScoreSpec:
    """How the weights are scored and compared; what the score does not use is left out."""
    assert entry.score is not None, "a combination has no score"
    return ScoreSpec(
        entry.score,
        entry.group,
        seed=(entry.seed or 0) if entry.score == "random" else None,
        removes=entry.removes,
        rounding="binary" if entry.profile == "paper" else "decimal",
        power=(entry.power or DEFAULT_POWER) if entry.score == "ria" else None,
        damping=(entry.damping or DEFAULT_DAMPING) if entry.score == "sparsegpt" else None,
    )


def reading(entry: VariantConfig) -> Reading:
    """How the statistics of the entry's sets are read."""
    variance = entry.aggregate == "variance"
    weight = DEFAULT_VARIANCE_WEIGHT if entry.variance_weight is None else entry.variance_weight
    return Reading(
        token_scope=entry.tokens,
        first=entry.samples,
        resample_seed=entry.resample,
        aggregation=entry.aggregate,
        shares=_normal(entry.shares),
        variance_weight=weight if variance else None,
    )


def _normal(shares: tuple[float, ...]) -> tuple[float, ...]:
    """Shares that sum to 1, none where they are equal: 1 and 3 say what 2 and 6 say."""
    return tuple(one / fsum(shares) for one in shares) if len(set(shares)) > 1 else ()


def schedule(entry: VariantConfig, inputs: Inputs) -> Schedule:
    """How much is removed where.

    Raises:
        RecipeError: it names a block or layer that the model has not.
    """
    config = entry.schedule
    _require_blocks((block for block, _ in config.blocks), inputs, key="schedule.blocks")
    _require_layers((layer for layer, _ in config.layers), inputs, key="schedule.layers")
    is_owl = config.kind == "owl"
    return Schedule(
        config.kind,
        tuple(sorted(config.blocks)),
        tuple(sorted(config.layers)),
        m=config.m if is_owl else None,
        spread=config.spread if is_owl else None,
    )


def scope(entry: VariantConfig, inputs: Inputs) -> Scope:
    """What is pruned at all; a scope that names everything is the scope that names nothing.

    Raises:
        RecipeError: it names a block or layer that the model has not, or leaves nothing to prune.
    """
    config = entry.scope
    everything: tuple[int, ...] = tuple(range(inputs.model.n_blocks))
    family_layers = FAMILIES[inputs.model.family].layers
    for key in ("blocks", "without_blocks"):
        _require_blocks(getattr(config, key), inputs, key=f"scope.{key}")
    for key in ("layers", "without_layers"):
        _require_layers(getattr(config, key), inputs, key=f"scope.{key}")
    wanted_blocks, wanted_layers = config.blocks or everything, config.layers or family_layers
    blocks = tuple(one for one in everything if one in wanted_blocks and one not in config.without_blocks)
    layers = tuple(one for one in family_layers if one in wanted_layers and one not in config.without_layers)
    if not blocks or not layers:
        raise RecipeError("a scope leaves nothing to prune", scope=config.model_dump(exclude_defaults=True))
    return Scope(() if blocks == everything else blocks, () if layers == family_layers else layers)


def check_structure(entry: VariantConfig, chosen: Scope, inputs: Inputs) -> None:
    """M of N:M has to divide the inputs of every layer that is pruned.

    Raises:
        RecipeError: it does not.
    """
    if ":" not in entry.group:
        return
    group = int(entry.group.partition(":")[2])
    for layer, d_in in _input_sizes(inputs).items():
        if d_in % group and (not chosen.layers or layer in chosen.layers):
            raise RecipeError(
                "M of a structure N:M does not divide the inputs of a layer",
                structure=entry.group,
                layer=layer,
                expected=f"a divisor of {d_in}",
                got=group,
            )


def _input_sizes(inputs: Inputs) -> dict[str, int]:
    """Layer -> d_in, from the headers of the weight files."""
    family = FAMILIES[inputs.model.family]
    files = WeightFiles(Path(inputs.model.path), family)
    axis = 0 if family.transposed else 1
    return {layer: files.shape(weight_name(family, 0, layer))[axis] for layer in family.layers}


def _require_blocks(blocks: Iterable[int], inputs: Inputs, *, key: str) -> None:
    for block in blocks:
        if block >= inputs.model.n_blocks:
            expected = f"0 to {inputs.model.n_blocks - 1}"
            raise RecipeError("the model has no such block", key=key, expected=expected, got=block)


def _require_layers(layers: Iterable[str], inputs: Inputs, *, key: str) -> None:
    known = FAMILIES[inputs.model.family].layers
    for layer in layers:
        if layer not in known:
            raise unknown("layer of a block", layer, known, error=RecipeError, key=key)
