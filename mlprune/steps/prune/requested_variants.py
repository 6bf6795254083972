"""Plan the variants of a recipe: checked specifications, ids, sets, and entries that ask for them.

If a schedule is a plug-in, the sparsity of every layer is computed when a variant is planned. The specification of the
schedule has the sparsities. Workers therefore need no plug-in, and masks can be composed.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from math import fsum, prod
from pathlib import Path
from typing import Protocol

from mlprune.errors import RecipeError, unknown
from mlprune.json_values import JsonObject
from mlprune.methods import (
    GivenParameters,
    OwlParameters,
    Parameters,
    SensitivityParameters,
    pattern_of,
    shortest_name,
)
from mlprune.methods.plugins import (
    SCHEDULE_METHODS,
    LayerSize,
    PluginParameters,
    PluginSource,
    ScheduleInputs,
    SchedulePlugin,
)
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.numeric.allocation import may_shrink
from mlprune.pruning.plugin_calls import ConfiguredPlugin, plugin_sparsities
from mlprune.pruning.spec import RefinementSpec, ScheduleSpec, Scope, ScoreSpec, StatisticsSelection
from mlprune.recipe.models import Recipe
from mlprune.recipe.questions import AskedLanguages, asked_languages
from mlprune.recipe.variant_checks import chosen_kind
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import ModelRef, computed_parameters, make_identity
from mlprune.steps.loss_records import LossRecord, find_losses
from mlprune.steps.prune.structure_variants import variants_of_structure
from mlprune.steps.sets import PlannedSet, check_token_scope
from mlprune.steps.variants.planned_variant import PlannedVariant, with_entry
from mlprune.steps.variants.scored_variant import Calibration, ScoredVariant, scored_parameters
from mlprune.steps.variants.variant import CapabilityVariant, dense_variant
from mlprune.vocabulary import ProfileName, TokenScope

Sets = Mapping[ProfileName, Mapping[str, tuple[PlannedSet, ...]]]
"""Profile -> name -> the sets of that name."""


def planned_schedule(
    kind: str, parameters: Parameters, *, inputs: Inputs, source: PluginSource, sparsity: float, chosen: Scope
) -> ScheduleSpec:
    """Return the schedule of a plug-in with the sparsities that it gives the layers of the scope.

    Args:
        kind: name of the plug-in.
        source: its provenance.
        sparsity: of the whole scope.
        chosen: blocks and layers that are pruned.
    Raises:
        PluginError: the plug-in breaks the contract of schedules.
    """
    plugin = SCHEDULE_METHODS.resolve(kind, source)
    assert isinstance(plugin, SchedulePlugin), "a look-up checks the class of a plug-in"
    assert isinstance(parameters, PluginParameters), "a recipe has plain parameters of a plug-in"
    layers = tuple(
        LayerSize(block, layer, prod(shape))
        for block, shapes in enumerate(_layer_shapes(inputs.model))
        for layer, shape in shapes.items()
        if chosen.includes(block, layer)
    )
    sparsities = plugin_sparsities(ConfiguredPlugin(plugin, parameters, source), ScheduleInputs(sparsity, layers))
    planned = tuple((one.block, one.layer, share) for one, share in zip(layers, sparsities, strict=True))
    return ScheduleSpec(kind, parameters, plugin=source, layers=planned)


@lru_cache(maxsize=16)
def _layer_shapes(model: ModelRef) -> tuple[dict[str, tuple[int, int]], ...]:
    """Return layer -> (out, in) of every block, from the headers of the weight files."""
    files = WeightFiles(Path(model.path), architecture_at(model.path))
    return tuple(files.layer_shapes(block) for block in range(model.n_blocks))


def score_spec(entry: VariantConfig) -> ScoreSpec:
    """Return how the weights are scored and compared.

    Raises:
        RecipeError: the entry has no score.
    """
    if entry.score is None:
        raise RecipeError("a variant needs a score", name=entry.name)
    name, parameters = shortest_name(entry.score, entry.score_parameters)
    return ScoreSpec(
        name,
        entry.group,
        removes=entry.removes,
        rounding="binary" if entry.profile == "paper" else "decimal",
        score_parameters=parameters,
        permute=entry.permute,
        plugin=entry.score_source,
        structure_plugin=entry.structure_source,
        structure_parameters=entry.structure_parameters,
    )


def refinement_spec(entry: VariantConfig) -> RefinementSpec | None:
    """Return how the mask of the score is refined; None if it is not."""
    if entry.refine is None:
        return None
    return RefinementSpec(entry.refine, entry.refiner_parameters, entry.refiner_source)


def statistics_selection(entry: VariantConfig) -> StatisticsSelection:
    """Return which statistics of the entry's sets count, and how they become one factor per feature."""
    return StatisticsSelection(
        token_scope=entry.tokens,
        n_demonstrations=entry.samples,
        resample_seed=entry.resample,
        aggregation=entry.aggregate,
        aggregation_parameters=entry.aggregation_parameters,
        shares=normal_shares(entry.shares),
    )


def normal_shares(shares: tuple[float, ...]) -> tuple[float, ...]:
    """Return shares that sum to 1; an empty tuple if all are equal. Shares of 1 and 3 equal shares of 2 and 6."""
    return tuple(share / fsum(shares) for share in shares) if len(set(shares)) > 1 else ()


class ReadsSets(Protocol):
    """Keys of a recipe that name demonstration sets."""

    @property
    def demonstrations(self) -> str | None:
        """Sets that are read one by one."""

    @property
    def over(self) -> tuple[str, ...]:
        """Sets that are read together."""

    @property
    def shares(self) -> tuple[float, ...]:
        """Weights of the sets of `over`."""

    @property
    def tokens(self) -> TokenScope:
        """Tokens that count."""

    @property
    def samples(self) -> int | None:
        """Only the first demonstrations of each set."""


def of_seed(
    groups: Iterable[tuple[PlannedSet, ...]], seed: int | None, *, variant: str | None, key: str
) -> list[tuple[PlannedSet, ...]]:
    """Return the groups of sets whose seed a variant has that is derived with a key; all for one without a seed.

    Raises:
        RecipeError: there is none.
    """
    found = list(groups)
    fitting = [group for group in found if seed in (None, group[0].spec.seed)]
    if not fitting:
        raise RecipeError(
            f"no set of {key} has the seed of the variant's own sets",
            variant=variant,
            expected=f"a set of seed {seed}",
            got=sorted({group[0].spec.seed for group in found}),
        )
    return fitting


def set_groups(entry: ReadsSets, sets: Mapping[str, tuple[PlannedSet, ...]]) -> Iterator[tuple[PlannedSet, ...]]:
    """Yield the sets that a score reads together: each set alone, or for `over` all sets of one seed."""
    if not entry.over:
        for planned in sets[entry.demonstrations or ""]:
            _check_readable(entry, (planned,))
            yield (planned,)
        return
    named = [planned for name in dict.fromkeys(entry.over) for planned in sets[name]]
    for seed in dict.fromkeys(planned.spec.seed for planned in named):
        group = tuple(planned for planned in named if planned.spec.seed == seed)
        labels = [planned.label for planned in group]
        if len(group) < 2 or len({planned.name for planned in group}) < len(set(entry.over)):
            message = "over needs two or more sets of one seed, at least one of each name"
            raise RecipeError(message, over=entry.over, seed=seed, got=labels)
        if len({planned.id for planned in group}) < len(group):
            raise RecipeError("over contains one set twice", over=entry.over, seed=seed, got=labels)
        if entry.shares and len(entry.shares) != len(group):
            message = "the number of shares differs from the number of sets"
            expected = f"{len(group)} shares, one for each set: {labels}"
            raise RecipeError(message, over=entry.over, expected=expected, got=entry.shares)
        _check_readable(entry, group)
        yield group


def _check_readable(entry: ReadsSets, group: tuple[PlannedSet, ...]) -> None:
    """Check that the sets have the tokens and the demonstrations that the entry asks for."""
    for planned in group:
        check_token_scope(planned, entry.tokens)
        if entry.samples is not None and entry.samples > planned.spec.samples:
            expected = f"samples at most {planned.spec.samples}"
            raise RecipeError(
                "a set has too few demonstrations", demonstrations=planned.name, expected=expected, got=entry.samples
            )


def contrast_sets(
    entry: VariantConfig, target: PlannedSet, sets: Mapping[str, tuple[PlannedSet, ...]]
) -> tuple[PlannedSet | None, ...]:
    """Return the contrast sets with the seed of the target set; (None,) if the score has no contrast."""
    if entry.contrast is None:
        return (None,)
    contrasts = tuple(planned for planned in sets[entry.contrast] if planned.spec.seed == target.spec.seed)
    if not contrasts:
        raise RecipeError(
            "the contrast has no set of equal seed",
            contrast=entry.contrast,
            expected=f"a set of seed {target.spec.seed}",
            got=[planned.spec.seed for planned in sets[entry.contrast]],
        )
    _check_readable(entry, contrasts)
    return contrasts


def schedule_spec(entry: VariantConfig, inputs: Inputs) -> ScheduleSpec:
    """Return how the sparsity is spread over blocks and layers.

    Raises:
        RecipeError: it names a block or layer that the model does not have, or losses that are not measured.
    """
    config = entry.schedule
    _require_blocks((block for block, _ in config.blocks), inputs, key="schedule.blocks")
    _require_layers((layer for layer, _ in config.layers), inputs, key="schedule.layers")
    positions = [_position(name) for name, _ in config.block_layers]
    _require_blocks((block for block, _ in positions), inputs, key="schedule.block_layers")
    _require_layers((layer for _, layer in positions), inputs, key="schedule.block_layers")
    parameters = config.method_parameters
    if isinstance(parameters, SensitivityParameters):
        return ScheduleSpec(config.kind, parameters, _losses(entry, inputs, group=parameters.group).id, formula=2)
    if isinstance(parameters, GivenParameters):
        parameters = GivenParameters(
            tuple(sorted(parameters.blocks)),
            tuple(sorted(parameters.layers)),
            tuple(sorted(parameters.block_layers, key=lambda pair: _position(pair[0]))),
        )
    if config.plugin is not None:
        return planned_schedule(
            config.kind,
            parameters,
            inputs=inputs,
            source=config.plugin,
            sparsity=entry.sparsity or 0.0,
            chosen=scope(entry, inputs),
        )
    has_new_values = isinstance(parameters, OwlParameters) and (
        bool(scope(entry, inputs).blocks) or may_shrink(entry.sparsity or 0.0, parameters.spread)
    )
    return ScheduleSpec(config.kind, parameters, formula=2 if has_new_values else 1)


def _position(name: str) -> tuple[int, str]:
    """Return the block and the layer of a name such as `3.self_attn.q_proj`."""
    block, _, layer = name.partition(".")
    return int(block), layer


def _losses(entry: VariantConfig, inputs: Inputs, *, group: str) -> LossRecord:
    """Return the first planned analysis that a schedule's keys fit."""
    config, asked, key = entry.schedule, asked_languages(group), "schedule.from"
    of_entry = find_losses(inputs.losses, entry=config.source)
    if not of_entry:
        names = dict.fromkeys(record.entry for record in inputs.losses)
        raise unknown(
            "sensitivity analysis", config.source or "", tuple(names), error=RecipeError, key=key, variant=entry.name
        )
    fitting = find_losses(of_entry, by=config.by, sparsity=config.at, task=config.task)
    if not fitting:
        known = [f"by {one.by}, at {one.sparsity:g}, task {one.task}" for one in of_entry]
        got = {"by": config.by, "at": config.at, "task": config.task}
        given = {name: value for name, value in got.items() if value is not None}
        message = "the analysis does not measure these losses"
        raise RecipeError(message, key=key, variant=entry.name, expected=known, got=given)
    if asked not in fitting[0].groups:
        texts = [AskedLanguages(*one).text for one in fitting[0].groups]
        raise unknown("group of the analysis", group, texts, error=RecipeError, key=key, variant=entry.name)
    return fitting[0]


def scope(entry: VariantConfig, inputs: Inputs) -> Scope:
    """Return the blocks and layers that are pruned. A scope that names all of them equals the default scope.

    Raises:
        RecipeError: it names a block or layer that the model does not have, or leaves nothing to prune.
    """
    config = entry.scope
    all_blocks: tuple[int, ...] = tuple(range(inputs.model.n_blocks))
    model_layers = architecture_at(inputs.model.path).layers
    for key in ("blocks", "without_blocks"):
        _require_blocks(getattr(config, key), inputs, key=f"scope.{key}")
    for key in ("layers", "without_layers"):
        _require_layers(getattr(config, key), inputs, key=f"scope.{key}")
    named_blocks, named_layers = config.blocks or all_blocks, config.layers or model_layers
    blocks = tuple(block for block in all_blocks if block in named_blocks and block not in config.without_blocks)
    layers = tuple(layer for layer in model_layers if layer in named_layers and layer not in config.without_layers)
    if not blocks or not layers:
        raise RecipeError("a scope leaves nothing to prune", scope=config.model_dump(exclude_defaults=True))
    return Scope(() if blocks == all_blocks else blocks, () if layers == model_layers else layers, config.sublayers)


def check_structure(structure: str, chosen: Scope, inputs: Inputs) -> None:
    """Check that M of N:M divides the number of inputs of every pruned layer.

    Raises:
        RecipeError: it does not.
    """
    pattern = pattern_of(structure)
    if pattern is None:
        return
    _, group = pattern
    for layer, d_in in input_sizes(inputs).items():
        if d_in % group and (not chosen.layers or layer in chosen.layers):
            raise RecipeError(
                "M of structure N:M does not divide the number of inputs of a layer",
                structure=structure,
                layer=layer,
                expected=f"a divisor of {d_in}",
                got=group,
            )


def input_sizes(inputs: Inputs) -> dict[str, int]:
    """Return layer -> number of inputs, from the headers of the weight files."""
    return {layer: n_in for of_block in _layer_shapes(inputs.model) for layer, (_, n_in) in of_block.items()}


def _require_blocks(blocks: Iterable[int], inputs: Inputs, *, key: str) -> None:
    for block in blocks:
        if block >= inputs.model.n_blocks:
            expected = f"0 to {inputs.model.n_blocks - 1}"
            raise RecipeError("the model has no such block", key=key, expected=expected, got=block)


def _require_layers(layers: Iterable[str], inputs: Inputs, *, key: str) -> None:
    known = architecture_at(inputs.model.path).layers
    for layer in layers:
        if layer not in known:
            raise unknown("layer of a block", layer, known, error=RecipeError, key=key)


def plan_variants(recipe: Recipe, inputs: Inputs, sets: Sets) -> dict[str, PlannedVariant]:
    """Return variant id -> variant, the dense one first. Equal variants of several entries are one variant.

    Raises:
        RecipeError: sets of a seed are missing, a block, layer or token scope does not exist, or M does not divide the
            number of inputs of a layer.
    """
    dense = dense_variant(inputs.base, inputs.model)
    planned = {dense.id: PlannedVariant(dense)}
    for entry in recipe.variants:
        if chosen_kind(entry) is None:
            planned = with_entry(planned, entry, list(_variants_of(recipe, inputs, entry, sets)))
    return planned


def _variants_of(recipe: Recipe, inputs: Inputs, entry: VariantConfig, sets: Sets) -> Iterator[PlannedVariant]:
    """Yield the variants of one entry: one per set, or group of sets, that its names refer to."""
    if entry.is_dense:
        yield PlannedVariant(dense_variant(inputs.base, inputs.model))
    elif not entry.reads_statistics:
        yield PlannedVariant(_spec(recipe, inputs, entry, (), None))
    else:
        of_profile = sets[entry.profile]
        for group in set_groups(entry, of_profile):
            for contrast in contrast_sets(entry, group[0], of_profile):
                yield PlannedVariant(_spec(recipe, inputs, entry, group, contrast), group, contrast)


def _spec(
    recipe: Recipe, inputs: Inputs, entry: VariantConfig, group: tuple[PlannedSet, ...], contrast: PlannedSet | None
) -> ScoredVariant | CapabilityVariant:
    """Return the variant itself; settings that its score does not read are not part of it."""
    score, schedule, planned_scope = score_spec(entry), schedule_spec(entry, inputs), scope(entry, inputs)
    set_ids = tuple(planned.id for planned in group)
    batch_tokens = inputs.model.batch_tokens(recipe.compute) if group else None
    computed = computed_parameters(inputs.model, batch_tokens=batch_tokens)
    check_structure(score.structure, planned_scope, inputs)
    contrast_id = contrast.id if contrast else None
    calibration = Calibration(entry.propagation, statistics_selection(entry), set_ids, contrast_id) if group else None
    sparsity, refinement = entry.sparsity or 0.0, refinement_spec(entry)
    parameters = scored_parameters(
        score, calibration, sparsity=sparsity, schedule=schedule, scope=planned_scope, refinement=refinement
    )
    if entry.profile != "corrected":
        parameters["profile"] = entry.profile
    parameters |= computed
    parents: JsonObject = {
        "base_model": inputs.base.id,
        "demonstration_sets": list(set_ids) or None,
        "contrast_set": contrast_id,
    }
    variant = ScoredVariant(
        make_identity("variants", parameters, parents=parents),
        inputs.model,
        sparsity=sparsity,
        score=score,
        calibration=calibration,
        schedule=schedule,
        scope=planned_scope,
        profile=entry.profile,
        refinement=refinement,
    )
    of_structure = variants_of_structure(score.structure, score.structure_plugin)
    return of_structure.planned(variant) if of_structure else variant
