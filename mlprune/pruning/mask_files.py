"""Mask files: the packed levels of the layers of one block."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from mlprune.errors import DamagedArtefactError
from mlprune.numeric.masks.packed_levels import PackedLevels
from mlprune.numeric.masks.packed_masks import PackedMask, keep_all
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.level_cache import LevelCache
from mlprune.pruning.scoring import BlockLevels
from mlprune.store.records import Artefact
from mlprune.store.store import Store

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
_CACHE = LevelCache(CACHED_BYTES)


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


Levels = int | Mapping[str, int]
"""Index of a sparsity in a mask file, for all layers of the block or by layer. A layer without one is not pruned."""


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
