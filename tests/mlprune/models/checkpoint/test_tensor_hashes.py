"""Hashes of tensors: of their bytes alone, in one file or several, and of damaged files."""

import hashlib
import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mlprune.errors import ModelError
from mlprune.models.checkpoint import tensor_hashes as weight_scan
from mlprune.models.checkpoint.tensor_hashes import (
    HASHES_FILE,
    TensorHash,
    read_hashes,
    scan_weights,
    sha256_of_tensor,
    tensor_hashes,
    write_hashes,
)
from mlprune.models.loading import inspect_model
from tests.refusals import refused
from tests.tiny_models import save_tiny_model

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


@pytest.mark.thorough("runs a model for every case")
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
    with pytest.raises(ModelError):
        read_hashes(tmp_path)


def test_a_file_that_ends_in_the_middle_of_a_tensor_is_refused(tmp_path: Path) -> None:
    file = folder_with(tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelError):
        tensor_hashes(tmp_path)


DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound model folder."""
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def _changed(model: Path, folder: Path, **tensors: Any) -> Path:
    """A copy of a model folder, with other tensors under some names."""
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((model / name).read_bytes())
    stored = load_file(model / "model.safetensors")
    stored |= {name: change(stored.get(name)) for name, change in tensors.items()}
    save_file({name: tensor.contiguous() for name, tensor in stored.items()}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_found_in_every_dtype(tmp_path: Path, dtype: torch.dtype, value: float) -> None:
    tensors = {
        "a": torch.randn(7, 5),
        "b": torch.full((300,), torch.finfo(dtype).max, dtype=dtype),
        "c": torch.zeros(3),
    }
    tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    file = tmp_path / "model.safetensors"
    save_file(tensors, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert scan_weights(tmp_path, {"model.safetensors": tensors}) == {"model.safetensors": digest}
    tensors["b"][299] = value
    save_file(tensors, file)
    with refused(ModelError, tensor="b", n_values=1, path=str(file)):
        scan_weights(tmp_path, {"model.safetensors": tensors})


def test_a_tensor_that_the_model_does_not_read_may_have_any_value(tmp_path: Path) -> None:
    tensors = {"mask": torch.full((4, 4), -math.inf), "used": torch.ones(3), "zz": torch.ones(2, dtype=torch.int64)}
    save_file(tensors, tmp_path / "model.safetensors")
    scan_weights(tmp_path, {"model.safetensors": ["used"]})


def test_a_file_is_hashed_and_checked_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_scan, "PIECE_BYTES", 64)
    tensors = {"a": torch.randn(1000), "b": torch.randn(77)}
    tensors["b"][-1] = math.nan
    save_file(tensors, tmp_path / "model.safetensors")
    data = (tmp_path / "model.safetensors").read_bytes()
    assert scan_weights(tmp_path, {"model.safetensors": ["a"]})["model.safetensors"] == hashlib.sha256(data).hexdigest()
    with refused(ModelError, expected="no NaN and no infinity", tensor="b"):
        scan_weights(tmp_path, {"model.safetensors": ["b"]})


def test_a_large_model_says_that_its_weights_are_read(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        scan_weights(model, {"model.safetensors": []})
        assert not caplog.records
        monkeypatch.setattr(weight_scan, "LARGE_BYTES", 1)
        scan_weights(model, {"model.safetensors": []})
    assert str(model) in caplog.text


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("model.layers.1.fc1.weight", lambda old: old.index_fill(0, torch.tensor(3), math.nan)),
        ("model.embed_tokens.weight", lambda old: old.index_fill(0, torch.tensor(9), math.inf)),
        ("model.embed_tokens.weight", lambda old: old[:100]),
        ("model.layers.0.fc2.weight", lambda old: old.to(torch.int8)),
        ("model.layers.0.fc2.weight", lambda old: old.to(torch.float8_e4m3fn)),
    ],
    ids=["nan", "inf in the embedding", "small embedding", "int8", "float8"],
)
def test_an_inspection_names_the_tensor_and_the_file(model: Path, tmp_path: Path, name: str, change: Any) -> None:
    folder = _changed(model, tmp_path / "changed", **{name: change})
    with refused(ModelError, tensor=name, path=str(folder / "model.safetensors")):
        inspect_model(folder)


def test_a_missing_embedding_and_a_quantised_model_are_refused(model: Path, tmp_path: Path) -> None:
    folder = _changed(model, tmp_path / "changed")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.embed_tokens.weight"]
    save_file(tensors, folder / "model.safetensors")
    with refused(ModelError, expected="model.embed_tokens.weight"):
        inspect_model(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))
    with refused(ModelError, got="gptq"):
        inspect_model(folder)
