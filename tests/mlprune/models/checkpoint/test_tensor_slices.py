import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mlprune.errors import ModelError
from mlprune.models.checkpoint import tensor_slices
from mlprune.models.checkpoint.tensor_slices import copy_tensor, tensor_slice

TENSORS = {
    "a": torch.randn(3, 5),
    "b": torch.randn(7).to(torch.bfloat16),
    "c": torch.randn(2, 3, 4).double(),
    "d": torch.tensor(1.5).half(),
    "e": torch.empty(0, 4),
    "n": torch.arange(3),
}


@pytest.fixture
def file(tmp_path):
    save_file(TENSORS, tmp_path / "x.safetensors")
    return tmp_path / "x.safetensors"


def test_a_tensor_slice_is_the_byte_range_of_a_tensor(file):
    data = file.read_bytes()
    for name, tensor in TENSORS.items():
        stored = tensor_slice(file, name)
        assert stored.shape == tuple(tensor.shape)
        assert stored.dtype == (None if name == "n" else tensor.dtype)
        expected = tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        assert data[stored.begin : stored.begin + stored.n_bytes] == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_copies_equal_what_safetensors_reads_in_any_dtype(file, monkeypatch, dtype):
    monkeypatch.setattr(tensor_slices, "_PIECE_BYTES", 24)
    for name, tensor in load_file(file).items():
        if tensor.is_floating_point():
            copy = copy_tensor(file, tensor_slice(file, name), dtype)
            assert copy.dtype == dtype
            assert torch.equal(copy, tensor.to(dtype))


def test_a_copy_has_the_alignment_of_the_mapped_file_but_does_not_map_it(file):
    mapped = load_file(file)
    for name in ("a", "b", "c"):
        stored = tensor_slice(file, name)
        copy = copy_tensor(file, stored, mapped[name].dtype)
        assert copy.data_ptr() % 64 == stored.begin % 64
        copy.zero_()
        assert torch.equal(load_file(file)[name], TENSORS[name])


def test_a_truncated_file_is_an_error_and_not_a_crash(file):
    stored = tensor_slice(file, "c")
    file.write_bytes(file.read_bytes()[: stored.begin + 8])
    for dtype in (torch.float64, torch.float32):
        with pytest.raises(EOFError, match="in the middle"):
            copy_tensor(file, stored, dtype)


def test_a_header_that_cannot_be_read_is_an_error(file, tmp_path):
    with pytest.raises(ModelError, match=r"header.*KeyError"):
        tensor_slice(file, "z")
    with pytest.raises(ModelError, match="No such file"):
        tensor_slice(tmp_path / "none", "a")
    for content in (b"", b"\x10" + bytes(7) + b"{", (200).to_bytes(8, "little") + json.dumps({"a": 1}).encode()):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(ModelError, match="header of a weight file"):
            tensor_slice(tmp_path / "bad", "a")
