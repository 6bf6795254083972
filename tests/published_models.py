"""Tiny checkpoints in the forms in which models of the paper are published: pickled, under names of older versions."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

PICKLED = "pytorch_model.bin"
PICKLED_INDEX = "pytorch_model.bin.index.json"
EXTRA_BUFFERS = {
    "xglm": ("model.embed_positions.weights",),
    "gpt2": tuple(f"transformer.h.{block}.attn.{name}" for block in range(3) for name in ("bias", "masked_bias")),
    "bloom": (),
}
"""Family -> buffers that older versions of transformers stored."""
HEAD = "lm_head.weight"
EMBEDDING = {
    "xglm": "model.embed_tokens.weight",
    "gpt2": "transformer.wte.weight",
    "bloom": "transformer.word_embeddings.weight",
}
PREFIX = {"xglm": "model.", "gpt2": "transformer.", "bloom": "transformer."}


def model_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of a folder that `save_tiny_model` wrote."""
    return load_file(folder / "model.safetensors")


def published_tensors(
    folder: Path, family: str, *, has_prefix: bool = True, has_buffers: bool = False, has_head: bool = False
) -> dict[str, Tensor]:
    """The tensors of a tiny model as they were published."""
    tensors = model_tensors(folder)
    if has_buffers:
        tensors |= {name: torch.ones(1, 1, 4, 4) for name in EXTRA_BUFFERS[family]}
    if not has_prefix:
        tensors = {name.removeprefix(PREFIX[family]): tensor for name, tensor in tensors.items()}
    if has_head:
        tensors[HEAD] = next(tensors[name] for name in tensors if EMBEDDING[family].endswith(name))
    return tensors


def publish(
    folder: Path, model: Path, tensors: dict[str, Tensor], *, n_files: int = 1, is_archive: bool = True
) -> Path:
    """Write tensors as pickled files, with all files of a model folder except its weights.

    Args:
        n_files: several files get an index.
        is_archive: the zip format; False is the format of PyTorch before 1.6.
    """
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    names = list(tensors)
    size = -(-len(names) // n_files)
    files = [f"pytorch_model-{part + 1:05}-of-{n_files:05}.bin" for part in range(n_files)]
    weight_map = {name: PICKLED if n_files == 1 else files[place // size] for place, name in enumerate(names)}
    for file in sorted(set(weight_map.values())):
        part = {name: tensors[name] for name in names if weight_map[name] == file}
        torch.save(part, folder / file, _use_new_zipfile_serialization=is_archive)
    if n_files > 1:
        (folder / PICKLED_INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder
