"""Load a variant as a transformers model in memory, without an export.

Weights that are stored in the wanted dtype are mapped from the files of the base model, not copied. Masks and new
weights are then written in place, so the model takes the memory of its base model. The mapping is private: no change
reaches the files.
"""

from collections.abc import Collection
from itertools import chain
from pathlib import Path

import torch
from torch import nn
from transformers import GenerationConfig, PreTrainedModel

from mlprune.models.checkpoint.weight_files import DTYPES, WeightFiles
from mlprune.models.fewer_blocks import without_blocks
from mlprune.models.local_chain import stored_weights
from mlprune.models.masks.masking import MaskedBlocks
from mlprune.models.meta_model import MetaModel, blocks_of, source_of
from mlprune.pruning.mask_files import StoredChanges
from mlprune.steps.inputs import require_base_model
from mlprune.steps.variants.variant_rows import removed_blocks, require_weights, stored_changes, variant_record
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import DtypeName

DEFAULT_DTYPE: DtypeName = "float32"
"""Dtype of a dense model without variants."""
GENERATION_CONFIG = "generation_config.json"


def load_masked_model(
    store: Store, variant_id: str, folder: Path, *, dtype: DtypeName | None = None, device: torch.device | None = None
) -> PreTrainedModel:
    """Load a variant with its masks, new weights, new biases and quantisation.

    Args:
        variant_id: a variant of the store; the dense one is allowed.
        folder: folder of its base model.
        dtype: dtype of the weights; by default the one in which the variant was made.
        device: the CPU by default.
    Returns: the model in evaluation mode; in the default dtype it has the weights that the run evaluated.
    Raises:
        StoreError: the store has no such variant.
        BadInputError: the folder contains another model, the variant has an intervention at run time, or it lacks
            blocks and the numbers of blocks have a meaning in the model.
        DamagedArtefactError: a file of masks or of changed weights is missing or damaged.
        ModelError: the model cannot be read.
    """
    variant = variant_record(store, variant_id)
    require_weights(variant, "a variant with an intervention at run time has no weights of its own")
    require_base_model(folder, variant.parent("base_model"))
    meta = MetaModel(folder, dtype or variant_dtype(store, variant))
    _load_weights(meta, device)
    changes = stored_changes(store, variant_id)
    if changes is not None:
        _apply(meta, changes)
    if removed := removed_blocks(variant):
        _drop_blocks(meta, removed)
    if (folder / GENERATION_CONFIG).is_file():
        meta.model.generation_config = GenerationConfig.from_pretrained(str(folder), local_files_only=True)
    meta.model.name_or_path = str(folder)
    return meta.model.requires_grad_(True)


def variant_dtype(store: Store, variant: Record) -> DtypeName:
    """Return the dtype in which a variant was made; of a dense model, the one of another variant of the same model."""
    same_model = (
        other
        for other in store.records("variants")
        if other.parents.get("base_model") == variant.parents.get("base_model")
    )
    for record in chain((variant,), () if "dtype" in variant.parameters else same_model):
        dtype: DtypeName | None = next((name for name in DTYPES if name == record.parameters.get("dtype")), None)
        if dtype is not None:
            return dtype
    return DEFAULT_DTYPE


def _load_weights(meta: MetaModel, device: torch.device | None) -> None:
    """Load all parameters: mapped if they are stored in the model's dtype, otherwise converted piece by piece."""
    files = WeightFiles(meta.path, meta.architecture)
    names = [name for name, _ in meta.model.named_parameters(remove_duplicate=False)]
    dtypes = {files.dtype(source_of(name, meta.model, files)) for name in names}
    meta.load(names, device=device, copies=dtypes != {DTYPES[meta.dtype]})
    if device is not None:
        meta.model.to(device)  # the buffers


def _drop_blocks(meta: MetaModel, removed: Collection[int]) -> None:
    """Remove blocks from a model that has all of them, and renumber the others."""
    fewer = without_blocks(meta.model.config, meta.architecture, removed)
    blocks = blocks_of(meta.model, meta.architecture)
    others = nn.ModuleList(module for block, module in enumerate(blocks) if block not in removed)
    for number, module in enumerate(others):
        for part in module.modules():
            if "layer_idx" in vars(part):
                vars(part)["layer_idx"] = number
    parent, _, name = meta.architecture.blocks.rpartition(".")
    setattr(meta.model.get_submodule(parent), name, others)
    for tensor, (dimension, kept) in fewer.kept.items():
        path, _, leaf = tensor.rpartition(".")
        dense = meta.model.get_parameter(tensor)
        values = dense.detach().index_select(dimension, torch.tensor(kept, device=dense.device))
        setattr(meta.model.get_submodule(path), leaf, nn.Parameter(values))
    for key, value in fewer.values.items():
        setattr(meta.model.config, key, value)


def _apply(meta: MetaModel, changes: StoredChanges) -> None:
    blocks = dict(enumerate(blocks_of(meta.model, meta.architecture)))
    masked = MaskedBlocks(
        blocks,
        meta.architecture,
        lambda block, layers: stored_weights(meta.path, meta.architecture, block, layers=layers),
    )
    with torch.no_grad():
        masked.exchange(changes)
        for name, values in changes.embeddings().items():
            meta.model.get_parameter(name).copy_(values)
