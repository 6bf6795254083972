"""Files of one block: packed levels with a cache, and changed weights and biases."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlprune.errors import DamagedArtefactError, ShapeError
from mlprune.models.masks.block_changes import BlockChanges
from mlprune.numeric.masks.packed_masks import PackedLevels, PackedMask, keep_all
from mlprune.numeric.weights.codes import Codes, coded_inputs, codes_of_tensors, dequantised_tensors
from mlprune.numeric.weights.quantisation import Quantisation
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.scoring import BlockLevels
from mlprune.store.records import Artefact
from mlprune.store.store import Store

T = TypeVar("T")
FileKey = tuple[str, Artefact]
"""Store and artefact. An artefact names its content by a hash, so an entry is never outdated."""
LevelsOfFile = Mapping[str, PackedLevels]
"""Layer -> its levels, of one block."""
SCHEMA = {
    "layer": "string",
    "shape": "list<int32>",
    "sparsities": "list<double>",
    "n_removed": "list<int64>",
    "keep_sha256": "list<string>",
    "n_silent_features": "int64",
    "n_dampings": "int32",
    "levels": "binary",
}
"""Columns of a mask file; `levels` is row-major over [out, in], packed by `pack_levels`."""
NEEDED = {"layer", "shape", "sparsities", "levels"}
"""Columns that every mask file has; files of earlier versions lack some of the other columns."""
CACHED_BYTES = 2**28
"""Bytes of mask files that stay in memory after they were read, packed: five bits per weight for twenty sparsities."""
Levels = int | Mapping[str, int]
"""Index of a sparsity in a mask file, for all layers of the block or by layer. A layer without one is not pruned."""


class LevelCache:
    """The mask files that were used last, up to a number of bytes. Thread-safe.

    Args:
        max_bytes: total size of the levels in memory; a file larger than a quarter of it is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._files: OrderedDict[FileKey, LevelsOfFile] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: FileKey, read: Callable[[], LevelsOfFile]) -> LevelsOfFile:
        """Return the levels of a file, and read them if they are not in memory."""
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
                return self._files[key]
        levels = read()
        if 4 * _size_of(levels) <= self._max_bytes:
            with self._lock:
                self._add(key, levels)
        return levels

    def _add(self, key: FileKey, levels: LevelsOfFile) -> None:
        if key not in self._files:
            self._files[key] = levels
            self._n_bytes += _size_of(levels)
        while self._n_bytes > self._max_bytes:
            _, oldest = self._files.popitem(last=False)
            self._n_bytes -= _size_of(oldest)


_CACHE = LevelCache(CACHED_BYTES)


def _size_of(levels: LevelsOfFile) -> int:
    return sum(len(layer.levels) for layer in levels.values())


def mask_path(ordering_id: str, block: int) -> str:
    """Return the path of the mask file of a block."""
    return f"masks/{ordering_id}/block-{block:03d}.parquet"


def write_block_masks(store: Store, path: str, levels: BlockLevels) -> Artefact:
    """Write the levels of one block."""
    columns: dict[str, list[Any]] = {
        "layer": list(levels),
        "shape": [list(layer.packed.shape) for layer in levels.values()],
        "sparsities": [list(layer.sparsities) for layer in levels.values()],
        "n_removed": [list(layer.n_removed) for layer in levels.values()],
        "keep_sha256": [list(layer.keep_sha256) for layer in levels.values()],
        "n_silent_features": [layer.n_silent_features for layer in levels.values()],
        "n_dampings": [layer.n_dampings for layer in levels.values()],
        "levels": [layer.packed.levels for layer in levels.values()],
    }
    return store.write_table(path, columns, SCHEMA)


def fingerprint(layers: Iterable[tuple[int, str, str]]) -> str:
    """Return a hash that two variants of one base model share exactly if they keep the same weights.

    Args:
        layers: (block, layer, SHA-256 of its packed keep mask) of all layers of the model, in order.
    """
    lines = "".join(f"{block} {layer} {sha256}\n" for block, layer, sha256 in layers)
    return hashlib.sha256(lines.encode()).hexdigest()


def read_packed_masks(
    store_uri: str, artefact: Artefact, levels: Levels, *, layers: Iterable[str] | None = None
) -> dict[str, PackedMask]:
    """Return layer -> keep mask of a mask file. The files that were used last stay in memory.

    Args:
        layers: only these, in this order; by default all, in the order of the file.
    Raises:
        DamagedArtefactError: the file is missing, differs from its record, or is not a mask file.
    """
    packed = _CACHE.get((store_uri, artefact), lambda: _load(store_uri, artefact))
    names = tuple(packed if layers is None else layers)

    def mask(layer: str) -> PackedMask:
        level = levels if isinstance(levels, int) else levels.get(layer)
        return keep_all(packed[layer].shape) if level is None else packed[layer].kept(level)

    return dict(zip(names, parallel_map(mask, names), strict=True))


def read_keep_masks(
    store_uri: str, artefact: Artefact, levels: Levels, *, layers: Iterable[str] | None = None
) -> dict[str, Tensor]:
    """Return layer -> keep mask, bool [out, in]; args and raises as `read_packed_masks`."""
    packed = read_packed_masks(store_uri, artefact, levels, layers=layers)
    return dict(zip(packed, parallel_map(PackedMask.unpack, packed.values()), strict=True))


def _load(store_uri: str, artefact: Artefact) -> dict[str, PackedLevels]:
    columns = Store(store_uri).read_table(artefact)
    if not set(columns) >= NEEDED:
        raise DamagedArtefactError(
            "a mask file lacks columns", path=artefact.path, expected=sorted(NEEDED), got=sorted(columns)
        )
    return {
        layer: PackedLevels(packed, (int(shape[0]), int(shape[1])), len(sparsities))
        for layer, shape, sparsities, packed in zip(
            columns["layer"], columns["shape"], columns["sparsities"], columns["levels"], strict=True
        )
    }


def weights_path(owner: str, block: int) -> str:
    """Return the path of the changed weights of a block."""
    return f"weights/{owner}/block-{block:03d}.safetensors"


def write_block_weights(store: Store, path: str, weights: Mapping[str, Tensor]) -> Artefact:
    """Write changed weights of one block: layer -> [out, in], pruned entries exactly 0; or biases: layer -> [out].

    Instead of new weights, they may be codes of `coded_tensors`. A layer without an entry keeps the values of the base
    model, apart from its mask. A block has new weights of all its pruned layers, or of none.
    """
    return store.write_bytes(path, save({layer: weight.cpu().contiguous() for layer, weight in weights.items()}))


def biases_path(owner: str, block: int) -> str:
    """Return the path of the changed biases of a block."""
    return f"biases/{owner}/block-{block:03d}.safetensors"


def embeddings_path(owner: str) -> str:
    """Return the path of the new embeddings of a variant: name in the checkpoint -> values."""
    return f"embeddings/{owner}.safetensors"


def read_block_weights(store: Store, artefact: Artefact) -> dict[str, Tensor]:
    """Return layer -> [out, in] of a file of changed weights or their codes, or layer -> [out] of changed biases.

    Raises:
        DamagedArtefactError: the file is missing, differs from its record, or contains no tensors or impossible codes.
    """
    return _read_tensors(store, artefact, dequantised_tensors)


def read_block_codes(store: Store, artefact: Artefact) -> dict[str, Codes]:
    """Return layer -> codes of a file of changed weights; empty if it has weights.

    Raises:
        DamagedArtefactError: as `read_block_weights`.
    """
    return _read_tensors(store, artefact, codes_of_tensors)


def read_coded_inputs(store: Store, artefact: Artefact) -> dict[str, Tensor]:
    """Return layer -> [in] bool of a file of codes, the inputs with codes; only layers that have inputs without codes.

    Raises:
        DamagedArtefactError: as `read_block_weights`.
    """
    return _read_tensors(store, artefact, coded_inputs)


def _read_tensors(store: Store, artefact: Artefact, read: Callable[[dict[str, Tensor]], dict[str, T]]) -> dict[str, T]:
    try:
        return read(load(store.read_bytes(artefact)))
    except (SafetensorError, ShapeError) as err:
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
    embeddings_file: Artefact | None = None
    """The file of new embeddings; None if they are those of the base model."""

    def embeddings(self) -> dict[str, Tensor]:
        """Return the new embeddings; see `WithEmbeddings`.

        Raises:
            DamagedArtefactError: the file is missing, differs from its record, or contains no tensors.
        """
        return read_block_weights(Store(self.store_uri), self.embeddings_file) if self.embeddings_file else {}

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
