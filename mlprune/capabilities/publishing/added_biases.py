"""Biases that a variant adds to layers without one, in an export: a config that declares them, and their tensors.

The configs of some model types declare biases of the attention and of the feed-forward layers as a whole (LLaMA:
`attention_bias` and `mlp_bias`), so layers that need none get biases of zero. Other types have no such key: their
variants can be loaded in memory, and no plain folder can contain them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from mlprune.capabilities.publishing.tensor_changes import ADDED_FILE, LayerKey, added_name, block_of
from mlprune.errors import BadInputError
from mlprune.json_values import JsonObject
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.architecture.units import ATTENTION_BIAS_KEY, FEED_FORWARD_BIAS_KEY
from mlprune.models.checkpoint.rewritten_files import write_json, write_tensors
from mlprune.models.checkpoint.tensor_hashes import sha256_of_tensor
from mlprune.models.checkpoint.weight_files import (
    INDEX_FILE,
    SINGLE_FILE,
    WeightFiles,
    architecture_at,
    bias_name,
    read_json_object,
    weight_name,
)
from mlprune.models.meta_model import build_skeleton
from mlprune.pruning.mask_files import read_block_weights
from mlprune.steps.variants.variant_rows import stored_masks
from mlprune.store.records import Record
from mlprune.store.store import Store


@dataclass(frozen=True)
class AddedBiases:
    """The biases that the files of the base model lack."""

    config: JsonObject
    """The config that declares them."""
    layers: tuple[LayerKey, ...]
    """All layers to which the config adds a bias."""


def added_layers(store: Store, variant: Record, model_path: Path) -> tuple[LayerKey, ...]:
    """Return the layers without a bias to which a variant adds one.

    Raises:
        DamagedArtefactError: a file of biases is missing or damaged.
        ModelError: the base model cannot be read.
    """
    stored = stored_masks(store, variant)
    if stored is None or not stored.biases:
        return ()
    architecture = architecture_at(model_path)
    files = WeightFiles(model_path, architecture)
    changed = [(block_of(one), layer) for one in stored.biases for layer in read_block_weights(store, one)]
    return tuple(key for key in changed if not files.has(bias_name(architecture, *key)))


def require_config(variant: Record, model_path: Path, needed: tuple[LayerKey, ...]) -> AddedBiases | None:
    """Return the biases that a folder has to contain; None if the variant adds none.

    Args:
        needed: of `added_layers`.
    Raises:
        BadInputError: the config of the model cannot declare them.
    """
    if not needed:
        return None
    architecture, files = architecture_at(model_path), WeightFiles(model_path, architecture_at(model_path))
    layers = {layer for _, layer in needed}
    config = dict(read_json_object(model_path / "config.json"))
    attention = {kind.attention.after for kind in architecture.kinds if kind.attention is not None}
    feed_forward = {kind.feed_forward.after for kind in architecture.kinds if kind.feed_forward is not None}
    config |= {ATTENTION_BIAS_KEY: True} if attention & layers else {}
    config |= {FEED_FORWARD_BIAS_KEY: True} if feed_forward & layers else {}
    declared = [key for key in _biases_of(config, architecture) if not files.has(bias_name(architecture, *key))]
    missing = sorted({layer for block, layer in needed if (block, layer) not in declared})
    if missing:
        raise BadInputError(
            f"the config of a {architecture.name} cannot declare the biases that the variant adds",
            variant_id=variant.id,
            got=missing,
            next="prune with compensate: false, or load the variant in memory with store.load",
        )
    return AddedBiases(config, tuple(declared))


def refuse_added_biases(variant: Record, needed: tuple[LayerKey, ...]) -> None:
    """Refuse a variant that adds biases, for a format that states changes of tensors of the base model only.

    Raises:
        BadInputError: it adds some.
    """
    if needed:
        raise BadInputError(
            "the variant adds biases to layers that have none, and a published variant cannot contain them",
            variant_id=variant.id,
            got=sorted({layer for _, layer in needed}),
            next="prune with compensate: false, or use mlprune export",
        )


def write_zero_biases(folder: Path, added: AddedBiases) -> dict[str, str]:
    """Write the config and a file with all added biases, which are zero until the variant's changes are written.

    Returns: name of each tensor -> its hash.
    """
    architecture = architecture_at(folder)
    files = WeightFiles(folder, architecture)
    tensors: dict[str, Tensor] = {}
    for block, layer in added.layers:
        name = weight_name(architecture, block, layer)
        n_out = files.shape(name)[1 if architecture.block(block).transposed else 0]
        tensors[added_name(files, (block, layer))] = torch.zeros(n_out, dtype=files.dtype(name))
    write_json(folder / "config.json", added.config)
    write_tensors(tensors, folder / ADDED_FILE)
    return {name: sha256_of_tensor(tensor) for name, tensor in tensors.items()}


def index_added_file(folder: Path, names: Mapping[str, str]) -> None:
    """Make the file with added biases one of the folder's weight files: list it in an index, which may be new.

    Args:
        names: of its tensors.
    """
    files = WeightFiles(folder, architecture_at(folder))
    places = {name: files.locate(name)[0] for name in files.names}
    index = dict(read_json_object(folder / INDEX_FILE)) if (folder / INDEX_FILE).exists() else {}
    if not index:  # transformers reads an index only without a single file
        renamed = "model-00001-of-00002.safetensors"
        (folder / SINGLE_FILE).rename(folder / renamed)
        places = dict.fromkeys(places, renamed)
    weight_map = {**places, **dict.fromkeys(names, ADDED_FILE)}
    n_bytes = sum((folder / file).stat().st_size for file in sorted(set(weight_map.values())))
    metadata = index.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    index |= {"metadata": {**known, "total_size": n_bytes}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _biases_of(config: JsonObject, architecture: Architecture) -> list[LayerKey]:
    """Return the prunable layers that have a bias in the model of a config."""
    with TemporaryDirectory(prefix="mlprune-config-") as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        model = build_skeleton(Path(folder), torch.float32)
    blocks = enumerate(model.get_submodule(architecture.blocks).children())
    return [
        (block, layer)
        for block, module in blocks
        for layer in architecture.block(block).layers
        if module.get_submodule(layer)._parameters.get("bias") is not None
    ]
