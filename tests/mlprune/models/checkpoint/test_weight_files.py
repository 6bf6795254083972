"""Weight files and the hashes of the files of a model."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mlprune.errors import ModelError
from mlprune.models.checkpoint.content_hashes import content_hashes, file_sha256
from mlprune.models.checkpoint.weight_files import (
    SINGLE_FILE,
    LayersOnDisk,
    WeightFiles,
    architecture_at,
    block_on_disk,
    read_block,
    shapes_of,
)
from mlprune.vocabulary import DtypeName
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, ARCHITECTURES, save_tiny_model, tiny_model


@pytest.mark.thorough("runs a model for every case")
def test_a_block_is_read_oriented_and_in_the_order_of_the_architecture(folders):
    for name in ALL_FAMILY_NAMES:
        model = tiny_model(name, seed=3, blocks=3)
        weights = read_block(folders[name], 1)
        assert tuple(weights) == ARCHITECTURES[name].layers
        for layer, weight in weights.items():
            module = model.get_submodule(ARCHITECTURES[name].blocks)[1].get_submodule(layer)
            inputs = torch.eye(weight.shape[1])
            bias = 0 if module.bias is None else module.bias
            torch.testing.assert_close(module(inputs) - bias, weight.T, atol=1e-6, rtol=0)


def test_a_float16_checkpoint_is_read_as_float32(tmp_path):
    path = save_tiny_model(tmp_path / "m", dtype=torch.float16)
    exact = read_block(save_tiny_model(tmp_path / "n"), 0)["fc1"]
    assert read_block(path, 0)["fc1"].dtype == torch.float32
    assert torch.equal(read_block(path, 0)["fc1"], exact.half().float())
    assert read_block(path, 0, dtype="float16")["fc1"].dtype == torch.float16


@pytest.mark.parametrize(("family", "prefix"), [("gpt2", "transformer."), ("opt", "model.")])
def test_a_checkpoint_without_the_base_prefix_can_be_read(tmp_path, family, prefix):
    path = save_tiny_model(tmp_path / "m", family)
    expected = read_block(path, 2)
    tensors = load_file(path / "model.safetensors")
    assert all(name.startswith(prefix) for name in tensors)
    save_file({name.removeprefix(prefix): t for name, t in tensors.items()}, path / "model.safetensors")
    weights = read_block(path, 2)
    assert all(torch.equal(weights[layer], expected[layer]) for layer in expected)


def test_weights_in_several_files_are_found_through_their_index(path):
    expected = read_block(path, 1)
    tensors = load_file(path / "model.safetensors")
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, path / file)
    (path / "model.safetensors").unlink()
    weight_map = {name: file for file, part in parts.items() for name in part}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    weights = read_block(path, 1)
    assert all(torch.equal(weights[layer], expected[layer]) for layer in expected)
    files = WeightFiles(path, ARCHITECTURES["xglm"])
    assert files.file_names == ("a.safetensors", "b.safetensors", "model.safetensors.index.json")


def test_an_index_entry_whose_file_lacks_the_tensor_is_an_error_that_names_both(path):
    weight_map = dict.fromkeys(load_file(path / "model.safetensors"), "model.safetensors")
    absent = "model.layers.3.fc1.weight"
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {**weight_map, absent: SINGLE_FILE}}))
    files = WeightFiles(path, ARCHITECTURES["xglm"])
    asked = (files.shape, files.locate, lambda name: files.read(name, torch.float32))
    for ask in asked:
        with refused(ModelError, tensor="model.layers.3.fc1.weight"):
            ask(absent)
    assert read_block(path, 0)["fc1"].shape == (64, 16)


def test_a_tensor_in_its_stored_dtype_is_a_private_view_of_the_mapped_file(path):
    before = file_sha256(path / SINGLE_FILE)
    files, name = WeightFiles(path, ARCHITECTURES["xglm"]), "model.layers.1.fc1.weight"
    view = files.read(name, torch.float32)
    assert files.read(name, torch.float32).data_ptr() == view.data_ptr()
    cast = files.read(name, torch.bfloat16)
    assert torch.equal(cast, view.bfloat16())
    original = view.clone()
    view.zero_()
    assert cast.count_nonzero() > 0
    assert hashlib.sha256((path / SINGLE_FILE).read_bytes()).hexdigest() == before
    assert torch.equal(WeightFiles(path, ARCHITECTURES["xglm"]).read(name, torch.float32), original)


def test_a_folder_with_only_pickled_weights_is_rejected_with_the_next_step(path):
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with refused(ModelError, got=["pytorch_model.bin"]) as caught:
        read_block(path, 0)
    assert f"mlprune import {path} --out {path}-imported" in caught.value.context["next"]


def test_a_missing_block_and_a_damaged_file_are_errors(path):
    with refused(ModelError, expected="0 to 2", got=3):
        read_block(path, 3)
    (path / "model.safetensors").write_bytes(b"not a weight file at all")
    with pytest.raises(ModelError):
        read_block(path, 0)


def test_a_tensor_of_a_dtype_unknown_to_torch_is_an_error_that_names_it(path):
    name = "model.layers.0.fc1.weight"
    header = json.dumps({name: {"dtype": "F6_E2M3", "shape": [8], "data_offsets": [0, 6]}}).encode()
    (path / SINGLE_FILE).write_bytes(len(header).to_bytes(8, "little") + header + bytes(6))
    with refused(ModelError, tensor="model.layers.0.fc1.weight"):
        WeightFiles(path, ARCHITECTURES["xglm"]).read(name, torch.float32)


def test_a_missing_or_malformed_config_is_an_error_of_one_line(path):
    (path / "config.json").write_text('{"model_type": \n')
    with pytest.raises(ModelError) as caught:
        architecture_at(path)
    assert "\n" not in str(caught.value)
    (path / "config.json").write_text("[1]")
    with refused(ModelError, got="list"):
        architecture_at(path)
    (path / "config.json").unlink()
    with pytest.raises(ModelError):
        architecture_at(path)


@pytest.mark.parametrize("file", ["../elsewhere.safetensors", "inner/part.safetensors", 3])
def test_an_index_that_names_a_file_outside_its_folder_is_rejected(path, file):
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"fc1": file}}))
    with pytest.raises(ModelError):
        WeightFiles(path, ARCHITECTURES["xglm"])


def test_a_tensor_is_located_by_its_file_and_its_name_there(tmp_path):
    path = save_tiny_model(tmp_path / "m", "gpt2")
    tensors = load_file(path / "model.safetensors")
    save_file({name.removeprefix("transformer."): t for name, t in tensors.items()}, path / "model.safetensors")
    files = WeightFiles(path, ARCHITECTURES["gpt2"])
    assert files.locate("transformer.h.0.mlp.c_fc.weight") == ("model.safetensors", "h.0.mlp.c_fc.weight")
    with refused(ModelError, expected="transformer.h.9.mlp.c_fc.weight"):
        files.locate("transformer.h.9.mlp.c_fc.weight")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_copied_tensor_equals_the_read_one_and_is_independent_of_it(tmp_path, dtype):
    files = WeightFiles(save_tiny_model(tmp_path), ARCHITECTURES["xglm"])
    for name in files.names:
        assert files.dtype(name) == torch.float32
        read, copied = files.read(name, dtype), files.copy(name, dtype)
        assert copied.dtype == dtype
        assert torch.equal(copied, read)
        assert copied.data_ptr() % 64 == read.data_ptr() % 64
        copied.fill_(7)
        assert torch.equal(files.read(name, dtype), read)


def test_copying_from_a_truncated_file_or_without_the_tensor_is_an_error(path):
    files = WeightFiles(path, ARCHITECTURES["xglm"])
    last = max(files.names, key=lambda name: files.read(name, torch.float32).data_ptr())
    with refused(ModelError, expected="nothing"):
        files.copy("nothing", torch.float32)
    with refused(ModelError, expected="nothing"):
        files.dtype("nothing")
    os.truncate(path / SINGLE_FILE, (path / SINGLE_FILE).stat().st_size - 1)
    with refused(ModelError, tensor="model.layers.2.self_attn_layer_norm.weight"):
        files.copy(last, torch.float32)


def test_content_hashes_cover_config_tokenizer_and_weights_and_change_with_the_files(path):
    (path / "README.md").write_text("not part of the model")
    before = content_hashes(path, WeightFiles(path, ARCHITECTURES["xglm"]).file_names)
    assert sorted(before) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert before["config.json"] == hashlib.sha256((path / "config.json").read_bytes()).hexdigest()
    config = path / "config.json"
    config.write_text(config.read_text() + " ")
    after = content_hashes(path, WeightFiles(path, ARCHITECTURES["xglm"]).file_names)
    assert after["config.json"] != before["config.json"]
    assert after["model.safetensors"] == before["model.safetensors"]


def test_a_hash_is_cached_until_size_or_time_of_the_file_changes(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"one")
    status = file.stat()
    first = file_sha256(file)
    file.write_bytes(b"two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file_sha256(file) == first
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert file_sha256(file) == hashlib.sha256(b"two").hexdigest()
    with pytest.raises(ModelError):
        file_sha256(tmp_path / "none")


def test_a_layer_on_disk_is_read_alone_and_on_every_access() -> None:
    reads = []

    def read(layer: str) -> torch.Tensor:
        reads.append(layer)
        return torch.ones(2, 3)

    weights = LayersOnDisk({"fc1": (2, 3), "fc2": (3, 2)}, read)
    assert (list(weights), len(weights), shapes_of(weights)) == (["fc1", "fc2"], 2, weights.shapes)
    assert not reads
    for _ in range(2):
        assert weights["fc1"].shape == (2, 3)
    assert reads == ["fc1", "fc1"]
    with pytest.raises(KeyError):
        weights["no such layer"]


@pytest.mark.parametrize("name", ["xglm", "gpt2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_block_on_disk_has_the_weights_of_the_block(tmp_path: Path, name: str, dtype: DtypeName) -> None:
    path = save_tiny_model(tmp_path, name)
    expected, weights = read_block(path, 1, dtype=dtype), block_on_disk(path, 1, dtype=dtype)
    assert list(weights) == list(expected)
    assert shapes_of(weights) == shapes_of(expected)
    assert all(torch.equal(weights[layer], weight) for layer, weight in expected.items())
