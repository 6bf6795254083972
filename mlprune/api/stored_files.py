"""Files and models of a store: masks, demonstrations, statistics, tokenizers and base models."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlprune.api.choice import Choice
from mlprune.api.relation import Relation
from mlprune.errors import BadInputError, StoreError, unknown
from mlprune.vocabulary import full_dtype

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from mlprune.api.reading import CatalogReader
    from mlprune.store.store import Store

DEMONSTRATIONS = "SELECT * FROM demonstrations ORDER BY demonstration"


def mask(store: "Store", variant_id: str, block: int, layer: str) -> "torch.Tensor":
    """Return the keep mask of a layer, bool [out, in]; see `OpenStore.mask`."""
    from mlprune.pruning.mask_files import read_packed_masks  # noqa: PLC0415 - loads torch
    from mlprune.steps.variants.variant_rows import require_masks  # noqa: PLC0415

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
        row
        for row in reader.table("statistics", Choice({"demonstration_set_id": set_id}))
        if row["propagation"] == "dense"
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


def load(
    store: "Store",
    variant_id: str,
    *,
    dtype: str | None,
    device: "str | torch.device | None",
    folder: str | Path | None,
) -> "PreTrainedModel":
    """Load a variant; see `OpenStore.load`."""
    from mlprune.api.masked_model import load_masked_model  # noqa: PLC0415 - loads transformers
    from mlprune.models.checkpoint.weight_files import DTYPES  # noqa: PLC0415 - loads torch

    given = full_dtype(str(dtype).removeprefix("torch."))
    name = next((known for known in DTYPES if known == given), None)
    if dtype is not None and name is None:
        raise unknown("dtype", dtype, DTYPES, error=BadInputError)
    path = model_folder(store, variant_id) if folder is None else Path(folder).expanduser()
    return load_masked_model(store, variant_id, path, dtype=name, device=_device(device))


def tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a model folder; see `OpenStore.tokenizer`."""
    from mlprune.models.loading import load_tokenizer  # noqa: PLC0415 - loads torch

    return load_tokenizer(folder.expanduser())


def model_folder(store: "Store", variant_id: str) -> Path:
    """Find the base model of a variant; see `OpenStore.model_folder`."""
    from mlprune.steps.inputs import find_base_model  # noqa: PLC0415 - loads torch

    return find_base_model(store, store.require("variants", variant_id).parent("base_model"), option="model=FOLDER")


def _device(name: "str | torch.device | None") -> "torch.device | None":
    import torch  # noqa: PLC0415 - takes a second

    if name is None:
        return None
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as err:
        # torch raises an AssertionError for a device that it was built without
        reason = " ".join(str(err).split())
        raise BadInputError(
            "the device cannot be used", expected="cpu, cuda or cuda:0", got=name, reason=reason
        ) from err
    return device
