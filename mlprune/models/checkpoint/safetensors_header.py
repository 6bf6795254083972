"""The header of a safetensors file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import prod

import torch

from mlprune.models.checkpoint.tensor_slices import METADATA

SAFETENSORS_TYPES: Mapping[torch.dtype, str] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint8: "U8",
}
_HEADER_ALIGNMENT = 8


def header_bytes(tensors: Iterable[tuple[str, torch.dtype, Sequence[int]]], metadata: Mapping[str, str]) -> bytes:
    """Return the beginning of a safetensors file, before its values: the length of the header, and the header.

    Args:
        tensors: name, dtype (one of `SAFETENSORS_TYPES`) and shape, in the order of the values.
        metadata: text for readers of the file.
    """
    entries: dict[str, object] = {METADATA: dict(metadata)}
    begin = 0
    for name, dtype, shape in tensors:
        end = begin + prod(shape) * dtype.itemsize
        entries[name] = {"dtype": SAFETENSORS_TYPES[dtype], "shape": shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _HEADER_ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
