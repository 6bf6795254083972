import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mlprune.errors import ModelError, ShapeError
from mlprune.models.checkpoint.edit import overwrite_tensor, zero_weights

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SHAPE = (5, 7)


def write_file(folder, dtype):
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(4, 6, generator=generator).to(dtype) for name in ("a", "b", "c")}
    save_file(tensors, folder / "w.safetensors", metadata={"format": "pt"})
    return folder / "w.safetensors", tensors


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tensor_gets_the_new_values_rounded_to_its_dtype_and_all_other_bytes_stay(tmp_path, dtype):
    path, tensors = write_file(tmp_path, dtype)
    before = path.read_bytes()
    values = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float32).T
    values[0, 0] = 0.0
    overwrite_tensor(path, "b", values)
    written = load_file(path)
    assert torch.equal(written["b"], values.to(dtype))
    assert all(torch.equal(written[name], tensors[name]) for name in ("a", "c"))
    after = path.read_bytes()
    assert len(after) == len(before)
    assert sum(old != new for old, new in zip(before, after, strict=True)) <= 24 * dtype.itemsize


def test_values_of_another_shape_are_refused(tmp_path):
    path, _ = write_file(tmp_path, torch.float32)
    before = path.read_bytes()
    with pytest.raises(ShapeError, match=r"expected=\(4, 6\), got=\(6, 4\)"):
        overwrite_tensor(path, "a", torch.zeros(6, 4))
    assert path.read_bytes() == before


@pytest.mark.parametrize(("dtype", "value"), [(torch.float16, 1e5), (torch.float32, float("nan"))])
def test_values_that_are_not_finite_in_the_stored_dtype_are_refused(tmp_path, dtype, value):
    path, _ = write_file(tmp_path, dtype)
    before = path.read_bytes()
    values = torch.zeros(4, 6)
    values[2, 3] = value
    with pytest.raises(ModelError, match=r"not finite.*n_values=1"):
        overwrite_tensor(path, "a", values)
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


@pytest.mark.parametrize("mask", [torch.zeros(7, 5, dtype=torch.bool), torch.zeros(SHAPE)])
def test_a_mask_of_another_shape_or_type_is_refused(tmp_path, mask):
    path, _ = weight_file(tmp_path, torch.float32)
    before = path.read_bytes()
    with pytest.raises(ShapeError, match="tensor='b'"):
        zero_weights(path, "b", mask)
    assert path.read_bytes() == before
