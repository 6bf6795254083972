"""Mask files: the packed levels of one block's layers, written once and read wherever a mask is needed."""

from functools import lru_cache
from typing import Any

from torch import Tensor

from mlprune.errors import DamagedArtefactError
from mlprune.numeric.masks import keep_mask, pack_levels, unpack_levels
from mlprune.pruning.scoring import BlockLevels
from mlprune.records import Artefact
from mlprune.storage import Store

SCHEMA = {
    "layer": "string",
    "shape": "list<int32>",
    "sparsities": "list<double>",
    "n_removed": "list<int64>",
    "n_silent_features": "int64",
    "levels": "binary",
}
"""Columns of a mask file; `levels` is row-major over [out, in], packed as `numeric.masks.pack_levels` says."""


KEPT_BYTES = 2**20
"""Size of a mask file up to which its levels stay in memory: evaluation visits the masks of small models often."""


def mask_path(ordering_id: str, block: int) -> str:
    """Where the mask file of a block lies."""
    return f"masks/{ordering_id}/block-{block:03d}.parquet"


def write_block_masks(store: Store, path: str, found: BlockLevels, *, sparsities: tuple[float, ...]) -> Artefact:
    """Write the orderings of one block."""
    columns: dict[str, list[Any]] = {
        "layer": list(found),
        "shape": [list(one.levels.shape) for one in found.values()],
        "sparsities": [list(sparsities)] * len(found),
        "n_removed": [list(one.n_removed) for one in found.values()],
        "n_silent_features": [one.n_silent_features for one in found.values()],
        "levels": [pack_levels(one.levels, len(sparsities)) for one in found.values()],
    }
    return store.write_table(path, columns, SCHEMA)


def read_block_levels(store_uri: str, artefact: Artefact) -> dict[str, Tensor]:
    """Layer -> levels [out, in] uint8 of a mask file; small ones are kept for the next reader.

    Raises:
        DamagedArtefactError: the file is missing or differs from its record.
    """
    if artefact.n_bytes > KEPT_BYTES:
        return load_block_levels(Store(store_uri), artefact)
    return _kept_block_levels(store_uri, artefact)


@lru_cache(maxsize=256)
def _kept_block_levels(store_uri: str, artefact: Artefact) -> dict[str, Tensor]:
    return load_block_levels(Store(store_uri), artefact)


def load_block_levels(store: Store, artefact: Artefact) -> dict[str, Tensor]:
    """Layer -> levels [out, in] uint8 of a mask file.

    Raises:
        DamagedArtefactError: the file is missing or differs from its record.
    """
    columns = store.read_table(artefact)
    if set(columns) != set(SCHEMA):
        raise DamagedArtefactError("a mask file has other columns", path=artefact.path, got=sorted(columns))
    return {
        layer: unpack_levels(packed, (int(shape[0]), int(shape[1])), len(sparsities))
        for layer, shape, sparsities, packed in zip(
            columns["layer"], columns["shape"], columns["sparsities"], columns["levels"], strict=True
        )
    }


def stored_keep_masks(
    weights: dict[str, Tensor], store_uri: str, artefact: Artefact, level: int
) -> tuple[dict[str, Tensor], None]:
    """The keep masks of a block at one sparsity, as the function a shard calls to prune a block from the store."""
    levels = read_block_levels(store_uri, artefact)
    return {layer: keep_mask(levels[layer], level) for layer in weights}, None
