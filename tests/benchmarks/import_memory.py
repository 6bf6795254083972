"""Measure the memory and time of importing a pickled checkpoint of XGLM's structure.

python tests/benchmarks/import_memory.py --folder DIR                 XGLM-7.5B's shape, one file of 15 GB
python tests/benchmarks/import_memory.py --folder DIR --files 7       the same tensors in seven files
python tests/benchmarks/import_memory.py --folder DIR --shape small   a tiny model, to check that the script runs

DIR needs space for the checkpoint and for its import. The script removes its files there at the end.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from itertools import chain
from math import prod
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from conditions import machine
from large_model import PIECE, SHAPES, Shape, model_files, write_config

from mlprune.capabilities.importing.model_import import import_model
from mlprune.models.checkpoint.tensor_slices import copy_tensor, tensor_slice
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at

OVERHEAD_BYTES = 2 * 2**30
"""Memory that an import may take above the largest tensor."""
SLACK = 2**26
"""Tensors start at different places of the first bytes of the file of values, so that they differ."""


def write_checkpoint(folder: Path, shape: Shape, *, n_files: int, is_archive: bool) -> dict[str, torch.Tensor]:
    """Write a float16 checkpoint as XGLM's are published: with the positions' buffer and the tied head.

    Returns: the tensors of the model; they are views of a mapped file.
    """
    sizes = dict(chain.from_iterable(tensors.items() for tensors in model_files(shape)))
    folder.mkdir()
    write_config(folder, shape)
    values = _values_file(folder.parent / "values", max(prod(size) for size in sizes.values()) * 2 + SLACK)
    tensors = {name: _view(values, number, size) for number, (name, size) in enumerate(sizes.items())}
    extra = {"lm_head.weight": tensors["model.embed_tokens.weight"]}
    extra["model.embed_positions.weights"] = torch.zeros(shape.positions + 2, shape.hidden, dtype=torch.float16)
    published = list({**tensors, **extra}.items())
    per_file = -(-len(published) // n_files)
    weight_map: dict[str, str] = {}
    for number in range(n_files):
        name = "pytorch_model.bin" if n_files == 1 else f"pytorch_model-{number + 1:05}-of-{n_files:05}.bin"
        part = dict(published[number * per_file : (number + 1) * per_file])
        torch.save(part, folder / name, _use_new_zipfile_serialization=is_archive)
        weight_map |= dict.fromkeys(part, name)
    if n_files > 1:
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
    return tensors


def _values_file(path: Path, n_bytes: int) -> torch.UntypedStorage:
    """Write random float16 values to a file, and map it."""
    generator = torch.Generator().manual_seed(0)
    with path.open("wb") as stream:
        for _ in range(0, n_bytes, 2 * PIECE):
            stream.write(torch.empty(PIECE).normal_(0, 0.02, generator=generator).half().numpy().tobytes())
    return torch.UntypedStorage.from_file(str(path), shared=False, nbytes=n_bytes)


def _view(values: torch.UntypedStorage, number: int, size: tuple[int, ...]) -> torch.Tensor:
    begin = number * 64_037 * 2 % SLACK
    return torch.empty(0, dtype=torch.float16).set_(values[begin : begin + 2 * prod(size)]).view(size)


def different_tensors(folder: Path, tensors: dict[str, torch.Tensor]) -> Iterator[str]:
    """Yield the names of tensors whose imported values are not those of the checkpoint."""
    files = WeightFiles(folder, architecture_at(folder))
    for name, tensor in tensors.items():
        file, stored = files.locate(name)
        copy = copy_tensor(folder / file, tensor_slice(folder / file, stored), torch.float16)
        if not torch.equal(copy, tensor):
            yield name


def measure(folder: Path, shape: Shape, *, n_files: int, is_archive: bool) -> dict[str, Any]:
    """Write a checkpoint, import it, and compare all values."""
    tensors = write_checkpoint(folder / "published", shape, n_files=n_files, is_archive=is_archive)
    begin = perf_counter()
    imported = import_model(folder / "published", folder / "imported", report=print)
    elapsed_s = perf_counter() - begin
    assert imported.result is not None, "the folder is new"
    peak, largest = imported.result.peak_memory_bytes or 0, max(tensor.nbytes for tensor in tensors.values())
    return {
        "checkpoint_bytes": sum(file.n_bytes for file in imported.record.files.values()),
        "largest_tensor_bytes": largest,
        "peak_bytes": peak,
        "is_within_limit": peak <= OVERHEAD_BYTES + largest,
        "elapsed_s": round(elapsed_s, 1),
        "weight_files": imported.result.weight_files,
        "different_tensors": list(different_tensors(folder / "imported", tensors)),
        "machine": machine(),
    }


def main() -> None:
    """Parse arguments and print the measurement as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="folder with space for the checkpoint and its import")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="7.5B")
    parser.add_argument("--files", type=int, default=1, help="number of files of the checkpoint")
    parser.add_argument("--old-format", action="store_true", help="write the format of PyTorch before 1.6")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        figures = measure(folder, SHAPES[arguments.shape], n_files=arguments.files, is_archive=not arguments.old_format)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
