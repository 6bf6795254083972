"""Damaged sources: one error, and nothing is left."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from mlprune.errors import ModelError
from mlprune.importing import import_model
from tests.published_models import PICKLED_INDEX, publish, published_tensors
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "xglm")


def fails(source: Path, out: Path) -> ModelError:
    """The error of an import."""
    with pytest.raises(ModelError) as raised:
        import_model(source, out, report=lambda _: None)
    assert not list(out.parent.glob(f"{out.name}*")), "nothing is left"
    assert raised.value.context["path"]
    return raised.value


def damaged(source: Path, name: str) -> None:
    """Damage a folder of three weight files."""
    shard, index = source / "pytorch_model-00002-of-00003.bin", source / PICKLED_INDEX
    weight_map = json.loads(index.read_text())["weight_map"]
    if name == "missing shard":
        shard.unlink()
    elif name == "truncated shard":
        os.truncate(shard, shard.stat().st_size // 2)
    elif name == "changed byte":
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)
    elif name == "traversal":
        index.write_text(json.dumps({"weight_map": {**weight_map, "x": "../x.bin"}}))
    elif name == "index is not JSON":
        index.write_text("{")
    elif name == "index without map":
        index.write_text("{}")
    elif name == "tensor missing in shard":
        index.write_text(json.dumps({"weight_map": {**weight_map, "x": shard.name}}))
    elif name == "Git LFS pointer":
        shard.write_text("version https://git-lfs.github.com/spec/v1\n")
    elif name == "no config":
        (source / "config.json").unlink()
    elif name == "another model's config":
        config = json.loads((source / "config.json").read_text())
        (source / "config.json").write_text(json.dumps({**config, "d_model": 32}))


@pytest.mark.usefixtures("without_child")
@pytest.mark.parametrize(
    "damage",
    [
        *("missing shard", "truncated shard", "changed byte", "traversal", "index is not JSON", "index without map"),
        *("tensor missing in shard", "Git LFS pointer", "no config", "another model's config"),
    ],
)
def test_a_damaged_source_is_one_error_and_leaves_nothing(tmp_path: Path, model: Path, damage: str) -> None:
    source = publish(tmp_path / "source", model, published_tensors(model, "xglm"), n_files=3)
    damaged(source, damage)
    fails(source, tmp_path / "out")


@pytest.mark.usefixtures("without_child")
def test_tensors_that_do_not_fit_the_model_are_named(tmp_path: Path, model: Path) -> None:
    tensors = published_tensors(model, "xglm")
    block = "model.layers.1.fc1.weight"
    wrong = {
        "adapter.weight": {**tensors, "adapter.weight": torch.ones(2)},
        block: {name: tensor for name, tensor in tensors.items() if name != block},
        "model.layers.0.fc2.weight": {**tensors, "model.layers.0.fc2.weight": torch.ones(2, 2)},
        "model.layers.0.fc2.bias": {**tensors, "model.layers.0.fc2.bias": torch.ones(16, dtype=torch.int8)},
    }
    for name, saved in wrong.items():
        source = publish(tmp_path / f"source of {name}", model, saved)
        assert name in str(fails(source, tmp_path / "out"))


@pytest.mark.usefixtures("without_child")
def test_a_full_disk_is_noticed_before_anything_is_written(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = publish(tmp_path / "source", model, published_tensors(model, "xglm"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 5))
    assert "GB free" in str(fails(source, tmp_path / "out"))
