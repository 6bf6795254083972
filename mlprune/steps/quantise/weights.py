"""Quantised weights of a variant, computed from the files of the base model for an export."""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from mlprune.errors import BadInputError
from mlprune.models.checkpoint.weight_files import read_block
from mlprune.models.loading import inspect_model
from mlprune.numeric.weights.quantisation import quantise
from mlprune.pruning.mask_files import read_keep_masks
from mlprune.pruning.weight_files import read_block_weights
from mlprune.steps.prune.stored_masks import StoredMasks, stored_masks
from mlprune.steps.quantise.rows import quantisation_in
from mlprune.store.records import Record
from mlprune.store.store import Store


def quantised_weights(store: Store, variant: Record, model_path: Path) -> Iterator[tuple[tuple[int, str], Tensor]]:
    """Yield (block, layer) and its dequantised weight, [out, in] float32, for all layers that can be pruned.

    They are computed from the weights as they are stored. A run whose dtype is narrower rounds them to it first.

    Raises:
        BadInputError: the variant is not quantised.
        DamagedArtefactError: a file of masks or of changed weights is missing or damaged.
        ModelError: the folder is not a model that can be read.
    """
    quantisation = quantisation_in(variant)
    if quantisation is None:
        raise BadInputError("the variant is not quantised", variant_id=variant.id)
    stored = stored_masks(store, variant)
    for block in range(inspect_model(model_path).n_blocks):
        for layer, weight in _block_weights(store, stored, block, model_path=model_path).items():
            quantise(weight, quantisation)
            yield (block, layer), weight


def _block_weights(store: Store, stored: StoredMasks | None, block: int, *, model_path: Path) -> dict[str, Tensor]:
    """Return layer -> weight with the masks and new weights of a variant, float32."""
    weights = read_block(model_path, block)
    if stored is None:
        return weights
    changed = read_block_weights(store, stored.weights[block]) if stored.weights else {}
    masks = read_keep_masks(store.uri, *stored.files[block])
    return {layer: changed.get(layer, weight).float() * masks[layer] for layer, weight in weights.items()}
