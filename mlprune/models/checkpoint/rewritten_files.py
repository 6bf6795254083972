"""Write the weight files of a folder again, with other names, fewer entries or other tensors."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from mlprune.json_values import JsonObject
from mlprune.models.checkpoint.tensor_slices import tensor_slices
from mlprune.models.checkpoint.weight_files import INDEX_FILE, WeightFiles


@dataclass
class FileChanges:
    """Changes of the tensors of one weight file; all other tensors stay as they are."""

    names: dict[str, str | None] = field(default_factory=dict)
    """Tensor -> its new name; None if it is removed."""
    kept: dict[str, tuple[int, Sequence[int]]] = field(default_factory=dict)
    """Tensor -> a dimension, and the entries along it that remain, ascending."""
    replaced: dict[str, Callable[[], Mapping[str, Tensor]]] = field(default_factory=dict)
    """Tensor -> function that makes those which are written instead of it."""


def rewrite_files(folder: Path, files: WeightFiles, changes: Mapping[str, FileChanges]) -> None:
    """Write the changed weight files of a folder and their index again; a file without tensors is deleted.

    A changed file is in memory at a time.

    Args:
        files: of the folder.
        changes: name of a file -> its changes.
    """
    places: dict[str, str] = {}
    n_bytes = 0
    for name in (file for file in files.file_names if file != INDEX_FILE):
        if name in changes:
            tensors = _changed(folder / name, changes[name])
            (folder / name).unlink()
            if tensors:
                write_tensors(tensors, folder / name)
            sizes = {tensor: values.nbytes for tensor, values in tensors.items()}
        else:
            sizes = {tensor: stored.n_bytes for tensor, stored in tensor_slices(folder / name).items()}
        places |= dict.fromkeys(sizes, name)
        n_bytes += sum(sizes.values())
    if (folder / INDEX_FILE).exists():
        index: JsonObject = {"metadata": {"total_size": n_bytes}, "weight_map": dict(sorted(places.items()))}
        write_json(folder / INDEX_FILE, index)


def write_tensors(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Write a weight file of a model folder, with the permissions of any new file: safetensors lets its owner read."""
    file.touch()
    mode = file.stat().st_mode
    save_file(dict(tensors), file, metadata={"format": "pt"})
    file.chmod(mode)


def _changed(file: Path, changes: FileChanges) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    with safe_open(str(file), framework="pt") as opened:
        for name in sorted(opened.keys()):
            if name in changes.replaced:
                tensors |= changes.replaced[name]()
                continue
            new_name = changes.names.get(name, name)
            if new_name is None:
                continue
            tensor = opened.get_tensor(name)
            if name in changes.kept:
                dimension, kept = changes.kept[name]
                tensor = tensor.index_select(dimension, torch.tensor(kept))
            tensors[new_name] = tensor.clone().contiguous()  # the file is about to be replaced
    return tensors


def write_json(path: Path, value: JsonObject) -> None:
    """Write a JSON file of a model folder."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
