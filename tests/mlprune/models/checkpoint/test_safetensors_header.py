"""The header of a safetensors file is the one that the library writes."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mlprune.models.checkpoint.safetensors_header import SAFETENSORS_TYPES, header_bytes


def test_a_header_describes_values_of_every_dtype_as_the_library_does(tmp_path: Path) -> None:
    tensors = {str(dtype): torch.ones(2, 3).to(dtype) for dtype in SAFETENSORS_TYPES}
    header = header_bytes(((name, one.dtype, one.shape) for name, one in tensors.items()), {"format": "pt"})
    assert len(header) % 8 == 0
    values = b"".join(one.view(torch.uint8).numpy().tobytes() for one in tensors.values())
    (tmp_path / "ours").write_bytes(header + values)
    save_file(tensors, tmp_path / "theirs", {"format": "pt"})
    assert _described(tmp_path / "ours") == _described(tmp_path / "theirs")
    with safe_open(tmp_path / "ours", framework="pt") as opened:
        assert all(torch.equal(opened.get_tensor(name), one) for name, one in tensors.items())


def _described(path: Path) -> dict[str, object]:
    """Return metadata, dtypes and shapes of a file; the order of the values is free."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return {name: {**one, "data_offsets": None} for name, one in header.items()}
