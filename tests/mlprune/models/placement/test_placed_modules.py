import pytest
import torch

from mlprune.errors import ModelError
from mlprune.models.block_ranges import EMBEDDINGS
from mlprune.models.meta_model import MetaModel
from mlprune.models.placement.budget import MemoryBudget
from mlprune.models.placement.memory_estimate import PROCESS_BYTES
from mlprune.models.placement.placed_modules import PlacedModules
from tests.chains import WORKING_BYTES, budget_for
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("bloom"), "bloom", blocks=4)


def placed(path, blocks=range(4), budget=None):
    meta_model = MetaModel(path, "float32")
    return meta_model, PlacedModules(meta_model, blocks, n_blocks=4, budget=budget)


def there(meta_model):
    return {name for name, parameter in meta_model.model.named_parameters() if parameter.device.type != "meta"}


def test_without_a_budget_exactly_the_shard_is_loaded(path):
    meta_model, shard = placed(path, range(1, 3))
    assert there(meta_model) == {*meta_model.names_in("transformer.h.1"), *meta_model.names_in("transformer.h.2")}
    assert (shard.offloaded, shard.window) == ({}, 0)
    assert shard.first_device == torch.device("cpu")


@pytest.mark.parametrize(("n", "staying"), [(1, 0), (2, 0), (3, 1)])
def test_with_a_budget_only_resident_blocks_are_loaded_and_every_other_tensor_belongs_to_one_part(path, n, staying):
    meta_model, shard = placed(path, budget=budget_for(path, n))
    assert there(meta_model) == {
        name for block in range(staying) for name in meta_model.names_in(f"transformer.h.{block}")
    }
    assert sorted(shard.offloaded) == [EMBEDDINGS, *range(staying, 4), 4]
    assert shard.window == min(n, 2)
    names = [name for part in shard.offloaded.values() for name in part]
    everything = {name for name, _ in meta_model.model.named_parameters(remove_duplicate=False)}
    everything.remove("transformer.word_embeddings.weight")  # stays in the checkpoint
    assert len(names) == len(set(names))
    assert set(names) | there(meta_model) == everything


def test_a_part_is_in_memory_between_read_and_drop_and_blocks_are_copies(path):
    meta_model, shard = placed(path, budget=budget_for(path, 1))
    with torch.inference_mode():
        shard.read(2)
    assert there(meta_model) == set(shard.offloaded[2])
    weight = meta_model.model.transformer.h[2].mlp.dense_h_to_4h.weight
    assert not weight.is_inference()
    before = weight.clone()
    weight.zero_()
    shard.drop(2)
    assert there(meta_model) == set()
    shard.read(2)
    assert torch.equal(meta_model.model.transformer.h[2].mlp.dense_h_to_4h.weight, before)


def test_a_budget_without_room_for_a_block_is_an_error_before_loading(path):
    with pytest.raises(ModelError, match="no room for one block"):
        placed(path, budget=MemoryBudget(PROCESS_BYTES, WORKING_BYTES))
