"""Files of changed weights and biases, for variants whose remaining weights or biases have new values."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlprune.errors import DamagedArtefactError
from mlprune.models.masks.block_changes import BlockChanges
from mlprune.numeric.weights.quantisation import Quantisation
from mlprune.pruning.mask_files import Levels, read_packed_masks
from mlprune.store.records import Artefact
from mlprune.store.store import Store


def weights_path(owner: str, block: int) -> str:
    """Return the path of the changed weights of a block."""
    return f"weights/{owner}/block-{block:03d}.safetensors"


def write_block_weights(store: Store, path: str, weights: Mapping[str, Tensor]) -> Artefact:
    """Write changed weights of one block: layer -> [out, in], pruned entries exactly 0; or biases: layer -> [out]."""
    return store.write_bytes(path, save({layer: weight.cpu().contiguous() for layer, weight in weights.items()}))


def biases_path(owner: str, block: int) -> str:
    """Return the path of the changed biases of a block."""
    return f"biases/{owner}/block-{block:03d}.safetensors"


def read_block_weights(store: Store, artefact: Artefact) -> dict[str, Tensor]:
    """Return layer -> [out, in] of a file of changed weights, or layer -> [out] of changed biases.

    Raises:
        DamagedArtefactError: the file is missing, differs from its record, or contains no tensors.
    """
    try:
        return dict(load(store.read_bytes(artefact)))
    except SafetensorError as err:
        raise DamagedArtefactError("a file of changed weights is damaged", path=artefact.path, reason=str(err)) from err


@dataclass(frozen=True)
class StoredChanges:
    """The changes of a variant in the store; shards call it to apply the variant."""

    store_uri: str
    masks: Mapping[int, Artefact]
    """Block -> its mask file; empty if nothing is removed."""
    levels: Mapping[int, Levels]
    """Block -> its levels in the file. Layers without a level stay as they are."""
    weights: Mapping[int, Artefact]
    """Block -> its file of changed weights; empty if no weight changed."""
    quantisation: Quantisation | None = None
    """How the weights of all blocks are rounded after that; None: not."""
    biases: Mapping[int, Artefact] = field(default_factory=dict)
    """Block -> its file of changed biases; empty if no bias changed."""

    def __call__(self, block: int) -> BlockChanges:
        """Return the changes of a block.

        Raises:
            DamagedArtefactError: a file is missing, differs from its record, or has another content.
        """
        changed = read_block_weights(Store(self.store_uri), self.weights[block]) if self.weights else {}
        biases = read_block_weights(Store(self.store_uri), self.biases[block]) if self.biases else {}
        levels = self.levels.get(block, {})
        if levels == {}:
            return BlockChanges({}, changed, self.quantisation, biases)
        layers = None if isinstance(levels, int) else list(levels)
        masks = read_packed_masks(self.store_uri, self.masks[block], levels, layers=layers)
        return BlockChanges(masks, changed, self.quantisation, biases)

    def source(self, block: int) -> Hashable:
        """Return the content of the files of a block, its levels in them, and how its weights are rounded."""
        levels = self.levels.get(block, {})
        masks, weights, biases = self.masks.get(block), self.weights.get(block), self.biases.get(block)
        return (
            masks.sha256 if masks else None,
            levels if isinstance(levels, int) else tuple(sorted(levels.items())),
            weights.sha256 if weights else None,
            self.quantisation,
            biases.sha256 if biases else None,
        )
