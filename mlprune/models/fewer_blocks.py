"""Remove blocks from a model folder: their weights, their number in the config, and all else that depends on it.

Lists and mappings of the config with an entry per block keep those of the blocks that remain. The model that its code
builds from the new config shows which tensors outside the blocks have entries for each block, such as the embedding of
Gemma 4 that gives every block an input of its own. The entries of a block are consecutive, in the order of the blocks.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from mlprune.errors import BadInputError, reason_of
from mlprune.json_values import JsonValue
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.checkpoint.rewritten_files import FileChanges, rewrite_files, write_json
from mlprune.models.checkpoint.tensor_slices import tensor_slices
from mlprune.models.checkpoint.weight_files import INDEX_FILE, WeightFiles, read_json_object
from mlprune.models.meta_model import blocks_of, skeleton_of


@dataclass(frozen=True)
class FewerBlocks:
    """What changes outside the blocks of a model of which some are removed."""

    values: Mapping[str, JsonValue]
    """The number of blocks, and the lists and mappings by block, by their keys in the file of the config."""
    kept: Mapping[str, tuple[int, Sequence[int]]]
    """Tensor outside the blocks with entries of every block -> their dimension, and the entries that remain."""


def remove_blocks(folder: Path, architecture: Architecture, removed: Collection[int]) -> None:
    """Remove blocks from a folder with all weights, and renumber the others; a file is in memory at a time.

    Raises:
        BadInputError: the numbers of blocks have a meaning in the model.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    fewer = without_blocks(config, architecture, removed)
    files = WeightFiles(folder, architecture)
    number_of = {block: number for number, block in enumerate(_others(config.num_hidden_layers, removed))}
    changes = {
        name: FileChanges(names=_new_names(folder / name, architecture, number_of))
        for name in files.file_names
        if name != INDEX_FILE
    }
    for name, kept in fewer.kept.items():
        for part in files.parts(name) if files.has(name) else ():
            changes[part.file].kept[part.name] = kept
    write_json(folder / "config.json", {**read_json_object(folder / "config.json"), **fewer.values})
    rewrite_files(folder, files, changes)


def without_blocks(config: PretrainedConfig, architecture: Architecture, removed: Collection[int]) -> FewerBlocks:
    """Return what changes outside the blocks if some of them are removed.

    Lists that the file of the config leaves out are part of it: their defaults follow from the numbers of the blocks.

    Raises:
        BadInputError: the computation of a block depends on its number.
    """
    if getattr(config, "scale_attn_by_inverse_layer_idx", False):
        message = "the attention of a block depends on its number, so no smaller folder has the same outputs"
        raise BadInputError(message, setting="scale_attn_by_inverse_layer_idx", expected=False, got=True)
    others = _others(config.num_hidden_layers, removed)
    values = settings_of_blocks(config.to_dict(), config.num_hidden_layers, others)
    values |= {config.attribute_map.get("num_hidden_layers", "num_hidden_layers"): len(others)}
    model = skeleton_of(config, torch.float32)
    shapes = _block_shapes(model, architecture)
    try:
        smaller = skeleton_of(type(config).from_dict({**config.to_dict(), **values}), torch.float32)
    except Exception as err:  # a config without a kind of block can raise anything in the model's code
        message = "the model cannot be built without the removed blocks"
        raise BadInputError(
            message, model_type=architecture.name, removed=sorted(removed), reason=reason_of(err)
        ) from err
    if _block_shapes(smaller, architecture) != [shapes[block] for block in others]:
        message = "the layers of a block depend on its number, so no smaller folder has the same outputs"
        raise BadInputError(message, model_type=architecture.name, removed=sorted(removed))
    before, after = (_shapes_outside_blocks(one, architecture) for one in (model, smaller))
    kept = {
        name: _entries_of_blocks(name, before.get(name, ()), after.get(name, ()), blocks=(len(shapes), others))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    }
    return FewerBlocks(values, kept)


def settings_of_blocks(settings: Mapping[str, JsonValue], n_blocks: int, others: Sequence[int]) -> dict[str, JsonValue]:
    """Return the settings of a config that are lists or mappings by block, for some of the blocks.

    Args:
        n_blocks: number of blocks of the config.
        others: the blocks that remain, ascending.
    """
    found: dict[str, JsonValue] = {}
    for key, value in settings.items():
        if "layer" in key and isinstance(value, list) and len(value) == n_blocks:
            found[key] = [value[block] for block in others]
        elif "layer" in key and isinstance(value, dict) and value and all(str(one).isdigit() for one in value):
            by_block = {int(one): of_block for one, of_block in value.items()}
            found[key] = {str(new): by_block[block] for new, block in enumerate(others) if block in by_block}
    return found


def _block_shapes(model: PreTrainedModel, architecture: Architecture) -> list[dict[str, tuple[int, ...]]]:
    """Return the shapes of the parameters of each block."""
    blocks = blocks_of(model, architecture)
    return [{name: tuple(parameter.shape) for name, parameter in block.named_parameters()} for block in blocks]


def _shapes_outside_blocks(model: PreTrainedModel, architecture: Architecture) -> dict[str, tuple[int, ...]]:
    state = model.state_dict().items()
    return {name: tuple(tensor.shape) for name, tensor in state if not architecture.is_in_blocks(name)}


def _entries_of_blocks(
    name: str, before: Sequence[int], after: Sequence[int], *, blocks: tuple[int, Sequence[int]]
) -> tuple[int, list[int]]:
    """Return the dimension of a tensor that depends on the number of blocks, and the entries that remain.

    Args:
        before: shape in the model with all blocks.
        after: shape in the model without the removed ones.
        blocks: number of all blocks, and those that remain.
    Raises:
        BadInputError: the dimension does not have equally many entries of every block.
    """
    n_blocks, others = blocks
    different = [number for number, sizes in enumerate(zip(before, after, strict=False)) if len(set(sizes)) > 1]
    if len(before) == len(after) and len(different) == 1:
        size, new_size = before[different[0]], after[different[0]]
        width = size // n_blocks
        if (size, new_size) == (width * n_blocks, width * len(others)):
            return different[0], [width * block + entry for block in others for entry in range(width)]
    message = "a tensor outside the blocks depends on their number in an unknown way"
    raise BadInputError(message, tensor=name, expected=tuple(before), got=tuple(after))


def _others(n_blocks: int, removed: Collection[int]) -> list[int]:
    return [block for block in range(n_blocks) if block not in removed]


def _new_names(file: Path, architecture: Architecture, number_of: Mapping[int, int]) -> dict[str, str | None]:
    """Return tensor of a file in a block -> its new name, or None in a removed block.

    Args:
        number_of: number of a block that remains -> its new one.
    """
    prefix, _, path = architecture.blocks.partition(".")  # files may leave the first part of names out
    pattern = re.compile(rf"(?:{prefix}\.)?{re.escape(path)}\.(\d+)\..+")
    name_of = {stored: name for name, stored in architecture.published_names}
    names: dict[str, str | None] = {}
    for stored in tensor_slices(file):
        if match := pattern.fullmatch(name_of.get(stored, stored)):
            number = number_of.get(int(match[1]))
            names[stored] = None if number is None else stored.replace(f".{match[1]}.", f".{number}.", 1)
    return names
