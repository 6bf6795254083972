import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mlprune.errors import ModelError, ShapeError
from mlprune.models.checkpoint import tensor_slices
from mlprune.models.checkpoint.tensor_slices import (
    copy_tensor,
    overwrite_tensor,
    read_rows,
    replace_tensors,
    tensor_slice,
    zero_weights,
)
from tests.refusals import refused

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
        with pytest.raises(EOFError):
            copy_tensor(file, stored, dtype)


def test_a_header_that_cannot_be_read_is_an_error(file, tmp_path):
    with refused(ModelError, tensor="z"):
        tensor_slice(file, "z")
    with refused(ModelError, tensor="a"):
        tensor_slice(tmp_path / "none", "a")
    for content in (b"", b"\x10" + bytes(7) + b"{", (200).to_bytes(8, "little") + json.dumps({"a": 1}).encode()):
        (tmp_path / "bad").write_bytes(content)
        with refused(ModelError, tensor="a"):
            tensor_slice(tmp_path / "bad", "a")


SHAPE = (5, 7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_tensor_gets_the_new_values_rounded_to_its_dtype_and_all_other_bytes_stay(tmp_path, dtype):
    path, tensors = weight_file(tmp_path, dtype)
    before = path.read_bytes()
    values = torch.randn(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float32).T
    values[0, 0] = 0.0
    overwrite_tensor(path, "b", values)
    written = load_file(path)
    assert torch.equal(written["b"], values.to(dtype))
    assert all(torch.equal(written[name], tensors[name]) for name in ("a", "c"))
    after = path.read_bytes()
    assert len(after) == len(before)
    assert sum(old != new for old, new in zip(before, after, strict=True)) <= 35 * dtype.itemsize


def test_values_and_masks_that_do_not_fit_are_refused_and_leave_the_file_as_it_is(tmp_path):
    for dtype, value in ((torch.float16, 1e5), (torch.float32, float("nan"))):
        path, _ = weight_file(tmp_path, dtype)
        before = path.read_bytes()
        values = torch.zeros(SHAPE)
        values[2, 3] = value
        with refused(ModelError, tensor="a", n_values=1):
            overwrite_tensor(path, "a", values)
        with refused(ShapeError, expected=(5, 7), got=(7, 5)):
            overwrite_tensor(path, "a", torch.zeros(7, 5))
        for mask in (torch.zeros(7, 5, dtype=torch.bool), torch.zeros(SHAPE)):
            with refused(ShapeError, expected="bool (5, 7)", tensor="b"):
                zero_weights(path, "b", mask)
        assert path.read_bytes() == before


def weight_file(folder, dtype):
    """Two tensors around the one under test, no value of which is 0."""
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.rand(SHAPE, generator=generator).add(0.5).to(dtype) for name in ("a", "b", "c")}
    path = folder / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt", "made_by": "a test"})
    return path, tensors


def removed_weights():
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) < 0.4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_only_the_bytes_of_removed_weights_change(tmp_path, dtype):
    path, tensors = weight_file(tmp_path, dtype)
    removed = removed_weights()
    before = path.read_bytes()
    zero_weights(path, "b", removed)
    written = load_file(path)
    assert torch.equal(written["b"], tensors["b"].masked_fill(removed, 0))
    assert torch.equal(written["b"] == 0, removed)
    assert all(torch.equal(written[name], tensors[name]) and written[name].dtype == dtype for name in ("a", "c"))
    after = path.read_bytes()
    n_changed = sum(old != new for old, new in zip(before, after, strict=True))
    assert 0 < n_changed <= int(removed.sum()) * dtype.itemsize
    with safe_open(path, framework="pt") as opened:
        assert opened.metadata() == {"format": "pt", "made_by": "a test"}


def test_a_removed_negative_weight_becomes_a_positive_zero(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"w": -torch.ones(SHAPE)}, path)
    zero_weights(path, "w", torch.ones(SHAPE, dtype=torch.bool))
    assert not torch.signbit(load_file(path)["w"]).any()


def test_a_non_contiguous_mask_is_applied_in_the_order_of_the_tensor(tmp_path):
    path, tensors = weight_file(tmp_path, torch.float32)
    removed = removed_weights().T.contiguous().T
    zero_weights(path, "b", removed)
    assert torch.equal(load_file(path)["b"], tensors["b"].masked_fill(removed, 0))


def test_replaced_tensors_have_other_shapes_and_all_others_are_copied_in_pieces(file, monkeypatch):
    monkeypatch.setattr(tensor_slices, "_PIECE_BYTES", 24)
    rows = [0, 2]

    def new(path, stored):
        return read_rows(path, stored, rows).reshape(len(rows), *stored.shape[1:])

    n_bytes = replace_tensors(file, {"a": (2, 5), "b": (2,)}, new)
    written = load_file(file)
    expected = {**TENSORS, "a": TENSORS["a"][rows], "b": TENSORS["b"][rows]}
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in expected.items())
    assert n_bytes == sum(tensor.nbytes for tensor in expected.values())
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    with safe_open(str(file), framework="pt") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_a_rewritten_file_keeps_its_metadata(tmp_path):
    file = tmp_path / "x.safetensors"
    save_file(TENSORS, file, metadata={"format": "pt", "made_by": "a user"})
    replace_tensors(file, {}, lambda path, stored: torch.empty(0))
    with safe_open(str(file), framework="pt") as opened:
        assert opened.metadata() == {"format": "pt", "made_by": "a user"}
