"""Loading a shard, and reading its weights again."""

import pytest
import torch

from mlprune.errors import ModelError
from mlprune.models.families.records import FAMILIES
from mlprune.models.shard_loader import load_shard, stored_weights
from tests.tiny_models import FAMILY_NAMES, save_tiny_model


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: save_tiny_model(tmp_path_factory.mktemp(name), name, seed=3) for name in FAMILY_NAMES}


def test_blocks_the_model_does_not_have_are_an_error(folders):
    for blocks, n_blocks in ((range(2, 4), 3), (range(2), 2), (range(0), 3)):
        with pytest.raises(ModelError, match="blocks of the shard do not match"):
            load_shard(folders["xglm"], blocks, n_blocks=n_blocks, dtype="float32")


def runner_of(path, dtype="float32"):
    return load_shard(path, range(3), n_blocks=3, dtype=dtype).runner


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_read_again_equal_the_loaded_ones(tmp_path, dtype):
    runner = runner_of(save_tiny_model(tmp_path, "gpt2"), dtype)
    family = FAMILIES["gpt2"]
    read = stored_weights(tmp_path, family, 1, layers=family.layers, dtype=dtype)
    assert list(read) == list(FAMILIES["gpt2"].layers)
    for layer, weight in read.items():
        loaded = runner.modules[1].get_submodule(layer).weight
        assert weight.dtype == loaded.dtype
        assert torch.equal(weight, loaded)


def test_restoring_weights_from_a_deleted_file_is_an_error(tmp_path):
    path = save_tiny_model(tmp_path)
    shard = load_shard(path, range(3), n_blocks=3, dtype="float32")
    shard.set_keep_masks({(0, "fc1"): torch.zeros(64, 16, dtype=torch.bool)})
    (path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        shard.set_keep_masks(None)
