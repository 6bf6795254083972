"""Prune one block: score and order its weights, or reconstruct them, and refine the masks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from mlprune.errors import PermanentError
from mlprune.methods.plugins import PluginParameters, RefinerPlugin
from mlprune.models.architecture.architecture import BlockArchitecture
from mlprune.models.checkpoint.weight_files import shapes_of
from mlprune.numeric.refinement.refined_layer import RefinedLayer, kept_counts
from mlprune.numeric.refinement.registry import REFINER_FUNCTIONS
from mlprune.numeric.weights.alps import RECONSTRUCTION_FUNCTIONS
from mlprune.numeric.weights.layer_inputs import LayerInputs
from mlprune.processes.parallel import parallel_map
from mlprune.pruning import scoring
from mlprune.pruning.block_inputs import BlockInputs, OnAccess
from mlprune.pruning.plugin_calls import ConfiguredPlugin, plugin_refined_layer
from mlprune.pruning.spec import RefinementSpec, ScoreSpec


@dataclass(frozen=True)
class PruningMethod:
    """How masks and new weights are chosen."""

    score: ScoreSpec
    refinement: RefinementSpec | None = None

    @property
    def changes_weights(self) -> bool:
        """Whether remaining weights get new values."""
        of_refiner = self.refinement is not None and self.refinement.method.changes_weights
        return self.score.method.changes_weights or of_refiner


def refined_block(
    weights: Mapping[str, Tensor],
    levels: scoring.BlockLevels,
    spec: RefinementSpec,
    *,
    structure: str,
    inputs: Mapping[str, LayerInputs],
) -> scoring.PrunedBlock:
    """Refine the mask of every layer of a block. Layers of which nothing is removed stay as they are.

    Args:
        weights: layer -> [out, in].
        levels: of the score, at one sparsity.
        structure: the comparison group.
        inputs: layer -> what the refiner reads; only of layers of which something is removed.
    Raises:
        PluginError: a plug-in is missing, or breaks its contract.
        PermanentError: a built-in refiner breaks it.
    """

    def refined(layer: str) -> tuple[scoring.LayerLevels, RefinedLayer | None]:
        of_layer = levels[layer]
        if not any(of_layer.n_removed):
            return of_layer, None
        weight = weights[layer]
        keep = of_layer.packed.kept(0).unpack().to(weight.device)
        result = refined_layer(inputs[layer], keep, spec, structure=structure, repeats=layer == smallest)
        n_silent = of_layer.n_silent_features
        packed = scoring.described_levels(result.keep.to(torch.uint8), of_layer.sparsities, n_silent_features=n_silent)
        return packed, result

    shapes = shapes_of(weights)
    pruned = [layer for layer in weights if any(levels[layer].n_removed)]
    smallest = min(pruned, key=lambda layer: prod(shapes[layer]), default=None)
    made = dict(zip(weights, parallel_map(refined, weights), strict=True))
    layers = {layer: result for layer, (_, result) in made.items() if result is not None}
    changed = {
        layer: result.weight.to(weights[layer].dtype) for layer, result in layers.items() if result.weight is not None
    }
    return scoring.PrunedBlock({layer: of_layer for layer, (of_layer, _) in made.items()}, changed, layers)


def refined_layer(
    inputs: LayerInputs, keep: Tensor, spec: RefinementSpec, *, structure: str, repeats: bool = False
) -> RefinedLayer:
    """Refine the mask of one layer.

    Args:
        keep: [out, in] bool, the mask of the score.
        structure: the comparison group.
        repeats: whether a plug-in is called twice, to compare its results.
    Raises:
        PluginError: a plug-in is missing, or breaks its contract.
        PermanentError: a built-in refiner breaks it.
    """
    parameters = spec.refiner_parameters
    if spec.plugin is None:
        result = REFINER_FUNCTIONS[spec.refiner](inputs, keep, structure=structure, parameters=parameters)
        _check(result, inputs, keep, spec, structure=structure)
        return result
    plugin = spec.method
    assert isinstance(plugin, RefinerPlugin), "a look-up checks the class of a plug-in"
    assert isinstance(parameters, PluginParameters), "a specification has plain parameters of a plug-in"
    configured = ConfiguredPlugin(plugin, parameters, spec.plugin)
    return plugin_refined_layer(configured, inputs, keep, structure=structure, repeats=repeats)


def _check(result: RefinedLayer, inputs: LayerInputs, keep: Tensor, spec: RefinementSpec, *, structure: str) -> None:
    """Check that every comparison group keeps as many weights as before, and that removed weights are 0.

    A plug-in gets the same checks where it is called.

    Raises:
        PermanentError: they do not.
    """
    context = {"refiner": spec.refiner, "block": inputs.block, "layer": inputs.layer}
    counts, before = (kept_counts(mask, structure) for mask in (result.keep, keep))
    if result.keep.dtype != torch.bool or counts.shape != before.shape or not torch.equal(counts, before):
        raise PermanentError("a refiner changed the sparsity of a comparison group", context, structure=structure)
    if result.weight is not None and bool(result.weight.masked_select(~result.keep).any()):
        raise PermanentError("a refiner left a removed weight that is not 0", context)
    if result.weight is not None and not spec.method.changes_weights:
        raise PermanentError("a refiner changed weights, and its registry entry says that it does not", context)


def reconstruct_block(
    inputs: Mapping[str, LayerInputs],
    score: ScoreSpec,
    sparsities: scoring.LayerSparsities,
    *,
    shapes: Mapping[str, tuple[int, int]] | None = None,
) -> tuple[scoring.BlockLevels, dict[str, Tensor]]:
    """Choose masks and new weights of every layer of a block. The largest layers start first.

    Args:
        inputs: layer -> its weight, [out, in], and the Gram matrix of its inputs; observed on the pruned blocks before
            it (sequential propagation) or on the dense model (dense propagation).
        score: a score that changes weights, its structure and its parameters.
        sparsities: layer -> its single sparsity; a layer with sparsity 0 is not changed.
        shapes: layer -> (out, in), if `inputs` are read on access; by default those of the weights.
    Returns: levels 0 (removed) and 1 (kept) of all layers; new weights of the pruned layers, in their dtype.
    Raises:
        StatisticsError: a Hessian is not positive definite with any damping.
    """
    function = RECONSTRUCTION_FUNCTIONS[score.score]

    def rewritten(layer: str) -> tuple[scoring.LayerLevels, Tensor | None]:
        (sparsity,) = sparsities[layer]
        if not sparsity:
            return scoring.unpruned_levels(sizes[layer], sparsities[layer]), None
        layer_inputs = inputs[layer]
        result = function(layer_inputs, sparsity, score.structure, score.score_parameters)
        levels = scoring.described_levels(result.keep.to(torch.uint8), sparsities[layer], n_dampings=result.n_dampings)
        return levels, result.weight.to(layer_inputs.weight.dtype)

    sizes = shapes or shapes_of({layer: of_layer.weight for layer, of_layer in inputs.items()})
    largest_first = sorted(inputs, key=lambda layer: -prod(sizes[layer]))
    made = dict(zip(largest_first, parallel_map(rewritten, largest_first), strict=True))
    changed = {layer: weight for layer in inputs if (weight := made[layer][1]) is not None}
    return {layer: made[layer][0] for layer in inputs}, changed


def pruned_block(
    weights: Mapping[str, Tensor],
    method: PruningMethod,
    *,
    sparsities: scoring.LayerSparsities,
    inputs: BlockInputs,
    block: int,
    architecture: BlockArchitecture,
) -> scoring.PrunedBlock:
    """Choose the masks of a block, and new weights if the method changes them.

    Args:
        weights: layer -> [out, in], any float dtype.
        sparsities: layer -> its sparsities; one each if the method changes weights or refines masks.
        inputs: statistics that the method reads.
        block: index of the block.
    Raises:
        ShapeError: statistics do not fit a weight, or M does not divide its inputs.
        StatisticsError: statistics are impossible.
    """
    score = method.score
    layers = OnAccess(
        tuple(weights), lambda layer: inputs.of_layer(layer, weights[layer], block=block, architecture=architecture)
    )
    if score.method.changes_weights:
        return scoring.PrunedBlock(*reconstruct_block(layers, score, sparsities, shapes=shapes_of(weights)))
    levels = scoring.block_levels(
        weights, score=score, sparsities=sparsities, block=block, architecture=architecture, inputs=inputs
    )
    if method.refinement is None:
        return scoring.PrunedBlock(levels)
    pruned = refined_block(weights, levels, method.refinement, structure=score.structure, inputs=layers)
    effects = scoring.layer_refinements(weights, levels, pruned.refined, inputs=inputs, architecture=architecture)
    return replace(pruned, refinements=effects)
