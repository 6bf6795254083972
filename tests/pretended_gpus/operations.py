"""Every operation of a chain, with small inputs, as functions from a chain and its architecture to results."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mlprune.capabilities.baselines.hidden_means import HiddenSumVisitor
from mlprune.capabilities.neurons.neuron_activity import ActiveNeuronVisitor
from mlprune.capabilities.reconstruction.block_outputs import BlockOutputs
from mlprune.capabilities.reconstruction.fit import reconstruct
from mlprune.capabilities.reconstruction.fit_settings import Reconstruction
from mlprune.models.architecture.architecture import Architecture, BlockArchitecture
from mlprune.models.chain import Chain, advance_to
from mlprune.models.inference.block_runner import BlockRunner
from mlprune.models.inference.decoding import MIN_PREFIX, StoppingCriteria, decode
from mlprune.models.inference.observation import (
    CaptureVisitor,
    InfluenceVisitor,
    StatisticsVisitor,
)
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.messages import FittedOutput, SweepObservation, WantedStatistics
from mlprune.models.shard import Shard
from mlprune.numeric.activations.gram import packed_triangle
from mlprune.numeric.weights.quantisation import Quantisation
from mlprune.pruning.block_inputs import BlockInputs, feature_factors
from mlprune.pruning.block_pruning import PruningMethod, pruned_block
from mlprune.pruning.mask_files import StoredChanges
from mlprune.pruning.spec import ScoreSpec, StatisticsSelection
from tests.chains import text_batch
from tests.level_masks import keep_masks
from tests.scored_texts import one_batch, some_texts
from tests.tiny_models import HIDDEN, PAD

N_BLOCKS = 4
PREFIX = [1, *range(30, 30 + MIN_PREFIX)]
PROMPTS = [[*PREFIX, 50, 60, 70, 80], [*PREFIX, 9], [*PREFIX, 7, 8]]

Operation = Callable[[Chain, Architecture], Any]


def _streamed(visitor: Callable[..., Any], item: Any) -> Operation:
    return lambda chain, _architecture: list(chain.stream(visitor, [item, item]))


def _captured(chain: Chain, architecture: Architecture) -> Any:
    wanted = {1: architecture.input_names, 3: architecture.input_names[:1]}
    return list(chain.stream(partial(CaptureVisitor, inputs_of_block=wanted), [text_batch()]))


def _scored(chain: Chain, _architecture: Architecture) -> Any:
    return list(chain.stream(ScoringVisitor, [one_batch(some_texts(heads=(4,)))]))


def _decoded(chain: Chain, _architecture: Architecture) -> Any:
    continued = partial(decode, chain, pad_id=PAD)
    return [continued(PROMPTS, StoppingCriteria(4, -1)), continued(PROMPTS[:1], StoppingCriteria(3, -1), batches=[[0]])]


def _masked(chain: Chain, architecture: Architecture) -> Any:
    """Masks chosen by magnitude, set for all blocks, with shifts of the hidden states; then the dense model."""
    kept = {}
    for block in range(N_BLOCKS):
        kept |= {
            (block, layer): mask for layer, mask in chain.on_block(block, Shard.sweep_prune, block, _heavy).items()
        }
    chain.everywhere(Shard.set_keep_masks, kept)
    chain.everywhere(Shard.set_shifts, {1: torch.linspace(-1, 1, HIDDEN, dtype=torch.float64)})
    masked = _scored(chain, architecture)
    chain.everywhere(Shard.set_keep_masks, None)
    chain.everywhere(Shard.set_shifts, None)
    return [kept, masked, _scored(chain, architecture)]


def _quantised(chain: Chain, architecture: Architecture) -> Any:
    """All weights rounded to 4 bits in place; then the dense model."""
    chain.everywhere(Shard.exchange_changes, StoredChanges("memory", {}, {}, {}, Quantisation(4, 8)))
    quantised = _scored(chain, architecture)
    chain.everywhere(Shard.set_keep_masks, None)
    return [quantised, _scored(chain, architecture)]


def _heavy(
    weights: Mapping[str, Tensor], _observation: SweepObservation
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Keep the weights above 0.1, in a shard."""
    masks = {layer: weight.abs() > 0.1 for layer, weight in weights.items()}
    return masks, {}, {layer: mask.cpu() for layer, mask in masks.items()}


def _observed_block_by_block(chain: Chain, _architecture: Architecture) -> Any:
    """Sums, Gram matrices and magnitudes of two sets, every block run once."""
    chain.everywhere(Shard.set_keep_masks, None)
    keys = [("a", 0), ("a", 1), ("b", 0)]
    for key, rows in zip(keys, (range(2), range(2, 4), range(3)), strict=True):
        chain.on_block(0, Shard.sweep_start, key, text_batch(rows))
    wanted = WantedStatistics(sums=True, products=True, magnitudes=True, advances=True)
    observed = []
    for block in range(N_BLOCKS):
        advance_to(chain, block, keys)
        chain.on_block(block, Shard.sweep_observe, block, keys, wanted=wanted)
        observed.append(chain.on_block(block, Shard.sweep_write, block, _on_the_cpu))
    chain.everywhere(Shard.sweep_clear)
    return observed


def _on_the_cpu(observation: SweepObservation) -> list[Any]:
    """Return what was observed of a block, without devices."""
    products = {
        name: {layer_input: packed_triangle(matrix) for layer_input, matrix in of_set.items()}
        for name, of_set in observation.products_of_sets.items()
    }
    sums = [
        {name: [one.sums, one.deviations] for name, one in of_batch.items()}
        for of_batch in observation.feature_sums.values()
    ]
    return [observation.sums, sums, products, observation.magnitudes]


def _swept(score: ScoreSpec) -> Operation:
    """A sequential sweep over two batches; every shard scores and prunes its blocks."""

    def sweep(chain: Chain, architecture: Architecture) -> Any:
        chain.everywhere(Shard.set_keep_masks, None)
        keys = ["a", "b"]
        for key, rows in zip(keys, (range(4), range(2)), strict=True):
            chain.on_block(0, Shard.sweep_start, key, text_batch(rows))
        files = []
        for block in range(N_BLOCKS):
            advance_to(chain, block, keys)
            chain.on_block(block, Shard.sweep_observe, block, keys, with_products="products" in score.method.needs)
            choose = partial(_chosen, score=score, block=block, kind=architecture.block(block))
            files.append(chain.on_block(block, Shard.sweep_prune, block, choose))
            chain.on_block(block, Shard.sweep_advance, block, keys)
        pruned = _scored(chain, architecture)
        chain.everywhere(Shard.sweep_clear)
        return [files, pruned]

    return sweep


def _chosen(
    weights: Mapping[str, Tensor],
    observation: SweepObservation,
    *,
    score: ScoreSpec,
    block: int,
    kind: BlockArchitecture,
) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor], dict[str, bytes]]:
    """Choose masks and new weights; return the bytes of the levels, as mask files contain them."""
    sparsities = dict.fromkeys(weights, (0.5,))
    if score.method.changes_weights:
        inputs = BlockInputs(products=observation.products)
    else:
        sums = {name: torch.cat([of[name] for of in observation.sums.values()]) for name in kind.input_names}
        factors = feature_factors([sums], selection=StatisticsSelection()) if score.method.needs else None
        inputs = BlockInputs(factors)
    method = PruningMethod(score)
    pruned = pruned_block(weights, method, sparsities=sparsities, inputs=inputs, block=block, architecture=kind)
    packed = {layer: of_layer.packed.levels for layer, of_layer in pruned.levels.items()}
    return keep_masks(pruned.levels, level=0), pruned.weights, packed


def _reconstructed(chain: Chain, architecture: Architecture) -> Any:
    """Halve the weights of every block and fit them to the dense outputs, with gradients that need no autograd."""
    chain.everywhere(Shard.set_keep_masks, None)
    pairs = [(("read", number), ("dense", number)) for number in range(2)]
    keys = [key for pair in pairs for key in pair]
    for key in keys:
        chain.on_block(0, Shard.sweep_start, key, text_batch(range(2 + key[1])))
    fitted = []
    for block in range(N_BLOCKS):
        advance_to(chain, block, keys)
        chain.on_block(block, Shard.sweep_advance, block, [dense for _, dense in pairs])
        chain.on_block(block, Shard.sweep_prune, block, _halved)
        fitted.append(chain.on_block(block, Shard.sweep_fit, block, pairs, partial(_fitted, block)))
        chain.on_block(block, Shard.sweep_advance, block, [read for read, _ in pairs])
    chain.everywhere(Shard.sweep_clear)
    chain.everywhere(Shard.set_keep_masks, None)
    return fitted


def _halved(
    weights: Mapping[str, Tensor], _observation: SweepObservation
) -> tuple[dict[str, Tensor], dict[str, Tensor], None]:
    return {}, {layer: weight / 2 for layer, weight in weights.items()}, None


@dataclass(frozen=True)
class _GrowingWeights:
    """Outputs of a block, whose gradients are replaced: they let all weights grow."""

    outputs: BlockOutputs

    def errors(self, weights: Mapping[str, Tensor]) -> list[float]:
        return self.outputs.errors(weights)

    def gradients(self, weights: Mapping[str, Tensor], _coefficients: Mapping[int, float]) -> dict[str, Tensor]:
        return {layer: -weight for layer, weight in weights.items()}


def _fitted(block: int, runner: BlockRunner, demonstrations: Sequence[FittedOutput]) -> Any:
    outputs = BlockOutputs(runner, block, demonstrations)
    weights = {**outputs.weights(), **outputs.biases()}
    keeps = {layer: (torch.arange(weight.numel()) % 3 > 0).view(weight.shape) for layer, weight in weights.items()}
    coefficients = [1 / square for square in outputs.target_squares()]
    fitted = reconstruct(weights, keeps, _GrowingWeights(outputs), coefficients, Reconstruction(8, 0.1, batch=1))
    return (
        fitted.before,
        fitted.after,
        fitted.n_steps,
        {layer: one.cpu().clone() for layer, one in fitted.weights.items()},
    )


OPERATIONS: Mapping[str, Operation] = {
    "observe": _streamed(StatisticsVisitor, text_batch()),
    "count neurons": _streamed(ActiveNeuronVisitor, text_batch()),
    "sum states": _streamed(HiddenSumVisitor, text_batch()),
    "influence of blocks": _streamed(InfluenceVisitor, text_batch()),
    "capture": _captured,
    "score": _scored,
    "decode": _decoded,
    "mask": _masked,
    "quantise": _quantised,
    "observe block by block": _observed_block_by_block,
    "reconstruct": _reconstructed,
    "sweep wanda row": _swept(ScoreSpec("wanda")),
    "sweep ria matrix": _swept(ScoreSpec("ria", "matrix")),
    "sweep wanda alpha": _swept(ScoreSpec("wanda", "alpha")),
    "sweep magnitude 2:4": _swept(ScoreSpec("magnitude", "2:4", removes="highest")),
    "sweep random row": _swept(ScoreSpec("random")),
    "sweep sparsegpt matrix": _swept(ScoreSpec("sparsegpt", "matrix")),
    "sweep sparsegpt 2:4": _swept(ScoreSpec("sparsegpt", "2:4")),
}
"""Name -> operation. An operation leaves the chain dense and without state."""


def leaves(value: Any) -> Iterator[Any]:
    """Yield the values in nested mappings, sequences and records, in order."""
    if isinstance(value, Mapping):
        value = list(value.values())
    elif hasattr(value, "__dataclass_fields__"):
        value = list(vars(value).values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value
