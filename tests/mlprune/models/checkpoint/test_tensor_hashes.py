"""Hashes of tensors: of their bytes alone, in one file or several, and of damaged files."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mlprune.errors import ModelError
from mlprune.models.checkpoint.tensor_hashes import (
    HASHES_FILE,
    TensorHash,
    read_hashes,
    sha256_of_tensor,
    tensor_hashes,
    write_hashes,
)

TENSORS = {
    "a": torch.tensor([[1.0, -0.0], [2.5, 3.0]]),
    "b": torch.arange(6, dtype=torch.bfloat16),
    "c": torch.tensor([True, False, True]),
}


def folder_with(path: Path, *, split: bool = False) -> Path:
    (path / "config.json").write_text('{"model_type": "xglm"}')
    if not split:
        save_file(TENSORS, path / "model.safetensors")
        return path
    for name, tensor in TENSORS.items():
        save_file({name: tensor}, path / f"model-{name}.safetensors")
    index = {"weight_map": {name: f"model-{name}.safetensors" for name in TENSORS}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return path


@pytest.mark.parametrize("split", [False, True])
def test_each_tensor_has_the_hash_of_its_bytes(tmp_path: Path, *, split: bool) -> None:
    hashes = tensor_hashes(folder_with(tmp_path, split=split))
    for name, tensor in TENSORS.items():
        data = tensor.flatten().view(torch.uint8).numpy().tobytes()
        assert hashes[name].sha256 == hashlib.sha256(data).hexdigest() == sha256_of_tensor(tensor)
        assert hashes[name].shape == tuple(tensor.shape)
        assert hashes[name].file == (f"model-{name}.safetensors" if split else "model.safetensors")
    assert [one.dtype for one in hashes.values()] == ["F32", "BF16", "BOOL"]


def test_a_negative_zero_and_a_transposed_tensor_have_hashes_of_their_own() -> None:
    matrix = torch.arange(6.0).view(2, 3)
    assert sha256_of_tensor(torch.tensor([0.0])) != sha256_of_tensor(torch.tensor([-0.0]))
    assert sha256_of_tensor(matrix.T) == sha256_of_tensor(matrix.T.contiguous()) != sha256_of_tensor(matrix)


def test_hashes_are_read_as_they_were_written(tmp_path: Path) -> None:
    hashes = {"x": TensorHash("model.safetensors", "F16", (2, 3), "0" * 64)}
    write_hashes(tmp_path, hashes)
    assert read_hashes(tmp_path) == hashes


@pytest.mark.parametrize("text", ["[]", '{"tensors": []}', '{"tensors": {"x": {"file": 1}}}', "{"])
def test_a_list_of_hashes_with_another_content_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / HASHES_FILE).write_text(text)
    with pytest.raises(ModelError, match=HASHES_FILE):
        read_hashes(tmp_path)


def test_a_file_that_ends_in_the_middle_of_a_tensor_is_refused(tmp_path: Path) -> None:
    file = folder_with(tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        tensor_hashes(tmp_path)
