"""Files of changed weights, for variants whose remaining weights have new values."""

from collections.abc import Mapping

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlprune.errors import DamagedArtefactError
from mlprune.models.masks.block_changes import BlockChanges
from mlprune.pruning.mask_files import Levels, read_packed_masks
from mlprune.store.records import Artefact
from mlprune.store.store import Store


def weights_path(owner: str, block: int) -> str:
    """Return the path of the changed weights of a block."""
    return f"weights/{owner}/block-{block:03d}.safetensors"


def write_block_weights(store: Store, path: str, weights: Mapping[str, Tensor]) -> Artefact:
    """Write the changed weights of one block: layer -> [out, in], pruned entries exactly 0."""
    return store.write_bytes(path, save({layer: weight.cpu().contiguous() for layer, weight in weights.items()}))


def read_block_weights(store: Store, artefact: Artefact) -> dict[str, Tensor]:
    """Return layer -> [out, in] of a file of changed weights.

    Raises:
        DamagedArtefactError: the file is missing, differs from its record, or contains no tensors.
    """
    try:
        return dict(load(store.read_bytes(artefact)))
    except SafetensorError as err:
        raise DamagedArtefactError("a file of changed weights is damaged", path=artefact.path, reason=str(err)) from err


def stored_changes(
    block: int,
    *,
    store_uri: str,
    masks: Mapping[int, Artefact],
    levels: Mapping[int, Levels],
    weights: Mapping[int, Artefact],
) -> BlockChanges:
    """Return the changes of a block; shards call it to apply a variant from the store.

    Args:
        masks: block -> its mask file.
        levels: block -> its levels in the file. Layers without a level stay dense.
        weights: block -> its file of changed weights; empty if no weight changed.
    Raises:
        DamagedArtefactError: a file is missing, differs from its record, or has another content.
    """
    changed = read_block_weights(Store(store_uri), weights[block]) if weights else {}
    of_block = levels[block]
    layers = None if isinstance(of_block, int) else list(of_block)
    return BlockChanges(read_packed_masks(store_uri, masks[block], of_block, layers=layers), changed)
