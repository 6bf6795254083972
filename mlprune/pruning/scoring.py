"""Score the layers of one block and order their weights, with the effect of a refiner on them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from mlprune.json_values import JsonValue
from mlprune.methods.plugins import PluginParameters, ScorePlugin, StructurePlugin
from mlprune.models.architecture.architecture import BlockArchitecture
from mlprune.models.checkpoint.weight_files import shapes_of
from mlprune.numeric.masks.packed_masks import PackedLevels, PackedMask
from mlprune.numeric.refinement.refined_layer import RefinedLayer
from mlprune.numeric.selection.levels import levels_of, permuted_levels, selects_within_rows
from mlprune.numeric.weights.layer_inputs import LayerInputs, layer_errors
from mlprune.numeric.weights.scores import ROW_WISE_SCORES, SCORE_FUNCTIONS
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.block_inputs import NO_INPUTS, BlockInputs
from mlprune.pruning.plugin_calls import ConfiguredPlugin, plugin_levels, plugin_scores
from mlprune.pruning.spec import ScoreSpec

_WEIGHTS_TOGETHER = 2**18
"""Weights that are scored, ordered and packed at a time: their scores take 1 MiB."""
LayerSparsities = Mapping[str, tuple[float, ...]]
"""Layer -> its sparsities, one per sparsity of the whole model."""
BlockLevels = Mapping[str, "LayerLevels"]
"""Layer -> its levels, for all layers of a block."""


@dataclass(frozen=True)
class LayerRefinement:
    """Effect of a refiner on one layer."""

    errors: tuple[tuple[float, float], ...]
    """Relative error of the output before and after on the tokens of each set; empty without Gram matrices."""
    n_swaps: int | None
    """None if the refiner does not swap."""
    n_rows_changed: int
    """Rows with another mask, or with new values of kept weights."""


@dataclass(frozen=True)
class RefinedVariant:
    """What the rows of a refined variant name."""

    id: str
    set_ids: tuple[str, ...]
    """Ids of the demonstration sets, in the order of their Gram matrices."""


def layer_refinements(
    weights: Mapping[str, Tensor],
    levels: "BlockLevels",
    refined: Mapping[str, RefinedLayer],
    *,
    inputs: BlockInputs,
    architecture: BlockArchitecture,
) -> dict[str, LayerRefinement]:
    """Return the effect of a refiner on each refined layer.

    Args:
        weights: layer -> [out, in], of the base model.
        levels: of the score; its mask is that of the first sparsity.
        refined: layer -> result of the refiner.
        inputs: has the Gram matrices of each set, if the refiner or the score reads them.
        architecture: of the block; maps layers to their inputs.
    """
    return {
        layer: _of_layer(
            weights[layer],
            levels[layer].packed.kept(0).unpack(),
            result,
            [products[architecture.input_of(layer)] for products in inputs.products_of_sets],
        )
        for layer, result in refined.items()
    }


def _of_layer(
    weight: Tensor, keep: Tensor, result: RefinedLayer, products_of_sets: Sequence[Tensor]
) -> LayerRefinement:
    keep = keep.to(weight.device)
    before = weight * keep
    new = weight if result.weight is None else result.weight.to(device=weight.device, dtype=weight.dtype)
    after = new * result.keep.to(weight.device)
    errors = (layer_errors(weight, [before, after], products=products) for products in products_of_sets)
    is_changed = (keep != result.keep.to(weight.device)) | (before != after)
    return LayerRefinement(
        errors=tuple((first, second) for first, second in errors),
        n_swaps=None if result.n_swaps is None else int(result.n_swaps.sum(dtype=torch.int64)),
        n_rows_changed=int(is_changed.any(dim=1).sum()),
    )


def refinement_tables(
    refinements: Mapping[str, LayerRefinement], variant: RefinedVariant | None, *, block: int
) -> dict[str, list[dict[str, JsonValue]]]:
    """Return the rows that the record of a block adds to the catalog; nothing if the variant is not refined.

    Table `refined_layers` has one row per refined layer and demonstration set.
    """
    if variant is None or not refinements:
        return {}
    rows: list[dict[str, JsonValue]] = [
        {
            "variant_id": variant.id,
            "block": block,
            "layer": layer,
            "demonstration_set_id": set_id,
            "error_before": before,
            "error_after": after,
            "n_swaps": refinement.n_swaps,
            "n_rows_changed": refinement.n_rows_changed,
        }
        for layer, refinement in refinements.items()
        for set_id, (before, after) in zip(
            variant.set_ids, refinement.errors or [(None, None)] * len(variant.set_ids), strict=True
        )
    ]
    return {"refined_layers": rows}


@dataclass(frozen=True)
class LayerLevels:
    """The ordering of the weights of one layer, cut at several sparsities."""

    packed: PackedLevels
    """Index of the first sparsity that removes a weight; the number of sparsities if none does."""
    sparsities: tuple[float, ...]
    """Of this layer, ascending."""
    n_removed: tuple[int, ...]
    """Weights removed at each sparsity."""
    keep_sha256: tuple[str, ...]
    """SHA-256 of the packed keep mask at each sparsity."""
    n_silent_features: int = 0
    """Input features that the contrast set never activates: their contrast score uses the target set only."""
    n_dampings: int | None = None
    """Times a reconstruction raised its damping; None for scores that change no weights."""


@dataclass(frozen=True)
class PrunedBlock:
    """The masks of a block, and its new weights if there are some."""

    levels: BlockLevels
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    """Layer -> [out, in], in the dtype of the layer, 0 where removed; layers that keep their weights are missing."""
    refined: Mapping[str, RefinedLayer] = field(default_factory=dict)
    """Layer -> result of the refiner; empty without one."""
    refinements: Mapping[str, LayerRefinement] = field(default_factory=dict)
    """Layer -> effect of the refiner, for the same layers."""


def block_levels(
    weights: Mapping[str, Tensor],
    *,
    score: ScoreSpec,
    sparsities: LayerSparsities,
    block: int,
    architecture: BlockArchitecture,
    inputs: BlockInputs = NO_INPUTS,
) -> BlockLevels:
    """Score and order every layer of a block, for all sparsities at once. The largest layers start first.

    Args:
        weights: layer -> [out, in], any float dtype; of layers on disk, only those at work are in memory.
        score: the score, its parameters, and the comparison group.
        sparsities: layer -> its sparsities; all zero for a layer that is not pruned.
        block: index of the block; random scores depend on it.
        architecture: of the block; maps layers to their inputs.
        inputs: statistics that the score reads.
    Raises:
        ShapeError: statistics do not fit a weight, or M does not divide its inputs.
        StatisticsError: statistics are negative or not finite.
    """

    def ordered(layer: str) -> LayerLevels:
        if not any(sparsities[layer]):
            return unpruned_levels(shapes[layer], sparsities[layer])
        layer_inputs = inputs.of_layer(layer, weights[layer], block=block, architecture=architecture)
        packed = _ordered_levels(layer_inputs, score, sparsities=sparsities[layer], repeats=layer == smallest)
        return _described(packed, sparsities[layer], n_silent_features=inputs.n_silent(architecture.input_of(layer)))

    shapes = shapes_of(weights)
    pruned = [layer for layer in weights if any(sparsities[layer])]
    smallest = min(pruned, key=lambda layer: prod(shapes[layer]), default=None)
    largest_first = sorted(weights, key=lambda layer: -prod(shapes[layer]))
    ordered_layers = dict(zip(largest_first, parallel_map(ordered, largest_first), strict=True))
    return {layer: ordered_layers[layer] for layer in weights}


def _ordered_levels(
    inputs: LayerInputs, score: ScoreSpec, *, sparsities: Sequence[float], repeats: bool
) -> PackedLevels:
    """Score and order one layer.

    Where rows do not depend on each other, a few rows are scored, ordered and packed at a time, in the cache.

    Args:
        repeats: whether a plug-in is called twice, to compare its results.
    """
    weight, position = inputs.weight, (inputs.block, inputs.layer)

    def levels_of_rows(rows: slice) -> Tensor:
        scores = layer_scores(inputs.of_rows(rows), score, repeats=repeats)
        if score.permute:
            return permuted_levels(scores, score.structure, sparsities=sparsities)
        return layer_levels(scores, score, sparsities=sparsities, position=position, repeats=repeats)

    n_levels = len(sparsities)
    is_by_rows = score.score in ROW_WISE_SCORES and selects_within_rows(score.structure) and not score.permute
    if not is_by_rows or weight.device.type != "cpu":
        return PackedLevels.pack(levels_of_rows(slice(None)), n_levels)
    shape = (weight.shape[0], weight.shape[1])
    return PackedLevels.pack_rows(levels_of_rows, shape, n_levels, n_together=_WEIGHTS_TOGETHER)


def layer_scores(inputs: LayerInputs, score: ScoreSpec, *, repeats: bool = False) -> Tensor:
    """Return the scores of one layer, [out, in] float32.

    Args:
        repeats: whether a plug-in is called twice, to compare its results.
    Raises:
        StatisticsError: the score reads statistics that are missing or impossible.
        PluginError: a plug-in is missing, or breaks its contract.
    """
    if score.plugin is None:
        return SCORE_FUNCTIONS[score.score](inputs, score.score_parameters)
    plugin, parameters = score.method, score.score_parameters
    assert isinstance(plugin, ScorePlugin), "a look-up checks the class of a plug-in"
    assert isinstance(parameters, PluginParameters), "a specification has plain parameters of a plug-in"
    return plugin_scores(ConfiguredPlugin(plugin, parameters, score.plugin), inputs, repeats=repeats)


def layer_levels(
    scores: Tensor, score: ScoreSpec, *, sparsities: Sequence[float], position: tuple[int, str], repeats: bool = False
) -> Tensor:
    """Return the levels of one layer, [out, in] uint8; see `levels_of`.

    Args:
        position: block and layer.
        repeats: whether a plug-in is called twice, to compare its results.
    Raises: as `levels_of`, and
        PluginError: a plug-in is missing, or breaks its contract.
    """
    if score.structure_plugin is None:
        return levels_of(scores, score.structure, sparsities=sparsities, rounding=score.rounding, removes=score.removes)
    plugin = score.group
    assert isinstance(plugin, StructurePlugin), "a look-up checks the class of a plug-in"
    configured = ConfiguredPlugin(plugin, score.structure_parameters, score.structure_plugin)
    return plugin_levels(configured, scores, sparsities=sparsities, position=position, repeats=repeats)


def described_levels(
    levels: Tensor, sparsities: Sequence[float], *, n_silent_features: int = 0, n_dampings: int | None = None
) -> LayerLevels:
    """Return levels, [out, in] uint8 on any device, packed on the CPU, together with their counts and hashes."""
    packed = PackedLevels.pack(levels, len(sparsities))
    return _described(packed, sparsities, n_silent_features=n_silent_features, n_dampings=n_dampings)


def _described(
    packed: PackedLevels, sparsities: Sequence[float], *, n_silent_features: int, n_dampings: int | None = None
) -> LayerLevels:
    n_weights = packed.shape[0] * packed.shape[1]
    found = [(n_weights - mask.n_kept(), mask_sha256(mask)) for mask in packed.kept_of_all()]
    counts, hashes = zip(*found, strict=True)
    return LayerLevels(packed, tuple(sparsities), counts, hashes, n_silent_features, n_dampings)


def mask_sha256(keep: PackedMask) -> str:
    """Return the SHA-256 of a keep mask, packed row-major into bits."""
    return hashlib.sha256(keep.bits.data).hexdigest()


def unpruned_levels(shape: tuple[int, ...], sparsities: Sequence[float]) -> LayerLevels:
    """Return the levels of a layer of which nothing is removed at any sparsity."""
    return described_levels(torch.full(tuple(shape), len(sparsities), dtype=torch.uint8), sparsities)
