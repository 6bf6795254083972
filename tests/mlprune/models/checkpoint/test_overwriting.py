import pytest
import torch
from safetensors.torch import load_file, save_file

from mlprune.errors import ModelError, ShapeError
from mlprune.models.checkpoint.overwriting import holds_values, overwrite_tensor

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def write_file(folder, dtype):
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(4, 6, generator=generator).to(dtype) for name in ("a", "b", "c")}
    save_file(tensors, folder / "w.safetensors", metadata={"format": "pt"})
    return folder / "w.safetensors", tensors


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_tensor_has_the_new_values_rounded_to_its_dtype_and_all_other_bytes_stay(tmp_path, dtype):
    path, tensors = write_file(tmp_path, dtype)
    before = path.read_bytes()
    values = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float32).T
    values[0, 0] = 0.0
    assert not holds_values(path, "b", values)
    overwrite_tensor(path, "b", values)
    assert holds_values(path, "b", values)
    found = load_file(path)
    assert torch.equal(found["b"], values.to(dtype))
    assert all(torch.equal(found[name], tensors[name]) for name in ("a", "c"))
    after = path.read_bytes()
    assert len(after) == len(before)
    assert sum(one != other for one, other in zip(before, after, strict=True)) <= 24 * dtype.itemsize


def test_a_tensor_that_is_one_bit_off_does_not_hold_the_values(tmp_path):
    path, tensors = write_file(tmp_path, torch.float32)
    assert holds_values(path, "a", tensors["a"])
    values = tensors["a"].clone()
    values[1, 1] = torch.nextafter(values[1, 1], torch.tensor(9.0))
    assert not holds_values(path, "a", values)


@pytest.mark.parametrize("use", [overwrite_tensor, holds_values])
def test_values_of_another_shape_are_refused(tmp_path, use):
    path, _ = write_file(tmp_path, torch.float32)
    before = path.read_bytes()
    with pytest.raises(ShapeError, match=r"expected=\(4, 6\), got=\(6, 4\)"):
        use(path, "a", torch.zeros(6, 4))
    assert path.read_bytes() == before


@pytest.mark.parametrize(("dtype", "value"), [(torch.float16, 1e5), (torch.float32, float("nan"))])
def test_values_the_stored_dtype_cannot_hold_are_refused(tmp_path, dtype, value):
    path, _ = write_file(tmp_path, dtype)
    before = path.read_bytes()
    values = torch.zeros(4, 6)
    values[2, 3] = value
    with pytest.raises(ModelError, match=r"not finite.*n_values=1"):
        overwrite_tensor(path, "a", values)
    assert path.read_bytes() == before
