"""Mask files: the packed levels of one block's layers, written once and read wherever a mask is needed."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import Tensor

from mlprune.errors import DamagedArtefactError
from mlprune.numeric.masks.packing import pack_levels, unpack_kept
from mlprune.parallel import parallel_map
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
"""Columns of a mask file; `levels` is row-major over [out, in], packed as `numeric.packing.pack_levels` says."""


NEEDED = {"layer", "shape", "sparsities", "levels"}
"""Columns without which there are no masks; files of earlier versions have these and lack others."""

KEPT_BYTES = 2**20
"""Size of a mask file up to which it stays in memory: evaluation visits the masks of small models often."""


@dataclass(frozen=True)
class _Packed:
    """The levels of one layer as they are stored."""

    levels: bytes
    shape: tuple[int, int]
    n_levels: int


def mask_path(ordering_id: str, block: int) -> str:
    """Where the mask file of a block lies."""
    return f"masks/{ordering_id}/block-{block:03d}.parquet"


def write_block_masks(store: Store, path: str, found: BlockLevels) -> Artefact:
    """Write the orderings of one block."""
    columns: dict[str, list[Any]] = {
        "layer": list(found),
        "shape": [list(one.levels.shape) for one in found.values()],
        "sparsities": [list(one.sparsities) for one in found.values()],
        "n_removed": [list(one.n_removed) for one in found.values()],
        "keep_sha256": [list(one.keep_sha256) for one in found.values()],
        "n_silent_features": [one.n_silent_features for one in found.values()],
        "n_dampings": [one.n_dampings for one in found.values()],
        "levels": [pack_levels(one.levels, len(one.sparsities)) for one in found.values()],
    }
    return store.write_table(path, columns, SCHEMA)


def fingerprint(layers: Iterable[tuple[int, str, str]]) -> str:
    """What two variants of one base model have in common exactly if they keep the same weights.

    Args:
        layers: (block, layer, SHA-256 of its packed keep mask), all of the model, in order.
    """
    lines = "".join(f"{block} {layer} {sha256}\n" for block, layer, sha256 in layers)
    return hashlib.sha256(lines.encode()).hexdigest()


def read_keep_masks(
    store_uri: str, artefact: Artefact, level: int, *, layers: Iterable[str] | None = None
) -> dict[str, Tensor]:
    """Layer -> keep mask [out, in] of one sparsity of a mask file; small files stay in memory for the next reader.

    Args:
        level: index of the sparsity.
        layers: these alone, in this order; by default all, in the order of the file.
    Raises:
        DamagedArtefactError: the file is missing, differs from its record, or is no mask file.
    """
    packed = _kept(store_uri, artefact) if artefact.n_bytes <= KEPT_BYTES else _load(store_uri, artefact)
    wanted = tuple(packed if layers is None else layers)

    def kept(layer: str) -> Tensor:
        one = packed[layer]
        return unpack_kept(one.levels, one.shape, one.n_levels, level=level)

    return dict(zip(wanted, parallel_map(kept, wanted), strict=True))


def stored_keep_masks(
    weights: Mapping[str, Tensor], store_uri: str, artefact: Artefact, level: int
) -> tuple[dict[str, Tensor], None]:
    """The keep masks of a block at one sparsity, as the function a shard calls to prune a block from the store."""
    return read_keep_masks(store_uri, artefact, level, layers=weights), None


@lru_cache(maxsize=256)
def _kept(store_uri: str, artefact: Artefact) -> dict[str, _Packed]:
    return _load(store_uri, artefact)


def _load(store_uri: str, artefact: Artefact) -> dict[str, _Packed]:
    columns = Store(store_uri).read_table(artefact)
    if not set(columns) >= NEEDED:
        raise DamagedArtefactError("a mask file has other columns", path=artefact.path, got=sorted(columns))
    return {
        layer: _Packed(packed, (int(shape[0]), int(shape[1])), len(sparsities))
        for layer, shape, sparsities, packed in zip(
            columns["layer"], columns["shape"], columns["sparsities"], columns["levels"], strict=True
        )
    }
