"""Files of a store: masks, demonstrations and statistics."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlprune.api.relation import Relation
from mlprune.errors import StoreError, unknown

if TYPE_CHECKING:
    import torch

    from mlprune.api.reading import CatalogReader
    from mlprune.store.store import Store

DEMONSTRATIONS = "SELECT * FROM demonstrations ORDER BY demonstration"


def mask(store: "Store", variant_id: str, block: int, layer: str) -> "torch.Tensor":
    """Return the keep mask of a layer, bool [out, in]; see `OpenStore.mask`."""
    from mlprune.pruning.mask_files import read_packed_masks  # noqa: PLC0415 - loads torch
    from mlprune.steps.prune.stored_masks import require_masks  # noqa: PLC0415

    files = require_masks(store, variant_id).files
    artefact, levels = files[_block(block, len(files))]
    masks = read_packed_masks(store.uri, artefact, levels)
    if not isinstance(layer, str) or layer not in masks:
        raise unknown("layer", layer, masks, error=StoreError, block=block)
    return masks[layer].unpack()


def demonstrations(reader: "CatalogReader", set_id: str) -> Relation:
    """Return the demonstrations of a set; see `OpenStore.demonstrations`."""
    return reader.use(
        lambda catalog: Relation(
            catalog.arrow(DEMONSTRATIONS, tables={"demonstrations": catalog.artefact_table("demonstrations", set_id)}),
            sql=DEMONSTRATIONS,
        )
    )


def statistics(
    store: "Store", reader: "CatalogReader", set_id: str, *, block: int, tokens: str | None
) -> "Mapping[str, torch.Tensor]":
    """Return the statistics of a block over a set; see `OpenStore.statistics`."""
    from mlprune.steps.observe.statistics_files import read_block_statistics  # noqa: PLC0415 - loads torch

    rows = [
        row for row in reader.table("statistics", {"demonstration_set_id": set_id}) if row["propagation"] == "dense"
    ]
    scopes = {str(row["token_scope"]): str(row["statistics_id"]) for row in rows}
    if tokens is None and len(rows) == 1:
        tokens = next(iter(scopes))
    if tokens is None:
        expected = f"tokens=one of {', '.join(scopes)}" if scopes else "a set of the dense model that a variant reads"
        raise StoreError("the statistics are not determined", set=set_id, expected=expected, got=len(rows))
    if tokens not in scopes:
        raise unknown("token scope", tokens, scopes, error=StoreError, set=set_id)
    artefacts = store.require("statistics", scopes[tokens]).artefacts
    blocks = {artefact.path.rpartition("/block-")[2][:3] for artefact in artefacts if "/block-" in artefact.path}
    return read_block_statistics(store, artefacts, _block(block, len(blocks)))


def _block(block: int, n_blocks: int) -> int:
    """Check the number of a block.

    Raises:
        StoreError: there is no such block.
    """
    if not isinstance(block, int) or not 0 <= block < n_blocks:
        raise StoreError("there is no such block", expected=f"0 to {n_blocks - 1}", got=block)
    return block
