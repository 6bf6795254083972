"""Prune one block: score and order its weights, or reconstruct them, and refine the masks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from mlprune.models.families.records import Family
from mlprune.pruning.block_inputs import BlockInputs
from mlprune.pruning.layer_refinement import layer_refinements
from mlprune.pruning.reconstruction_block import reconstruct_block
from mlprune.pruning.refinement import refined_block
from mlprune.pruning.scoring import LayerSparsities, PrunedBlock, block_levels
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


def pruned_block(
    weights: Mapping[str, Tensor],
    method: PruningMethod,
    *,
    sparsities: LayerSparsities,
    inputs: BlockInputs,
    block: int,
    family: Family,
) -> PrunedBlock:
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
    if score.method.changes_weights:
        layers = {
            layer: inputs.of_layer(layer, weight, block=block, family=family) for layer, weight in weights.items()
        }
        return PrunedBlock(*reconstruct_block(layers, score, sparsities))
    levels = block_levels(weights, score=score, sparsities=sparsities, block=block, family=family, inputs=inputs)
    if method.refinement is None:
        return PrunedBlock(levels)
    pruned = refined_block(
        weights, levels, method.refinement, structure=score.structure, inputs=inputs, block=block, family=family
    )
    keeps = {layer: levels[layer].packed.kept(0).unpack() for layer in pruned.refined}
    effects = layer_refinements(weights, keeps, pruned.refined, inputs=inputs, family=family)
    return replace(pruned, refinements=effects)
