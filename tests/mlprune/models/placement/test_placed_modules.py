import pytest
import torch

from mlprune.errors import ModelError
from mlprune.models.block_ranges import EMBEDDINGS
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.meta_model import MetaModel
from mlprune.models.placement.budget import MemoryBudget
from mlprune.models.placement.device_budget import NO_DEVICES, DeviceBudget
from mlprune.models.placement.memory_estimate import PROCESS_BYTES, footprint, shard_bytes
from mlprune.models.placement.placed_modules import PlacedModules
from tests.chains import WORKING_BYTES, budget_for
from tests.pretended_gpus import pretended_gpus
from tests.scored_texts import one_batch, some_texts
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


WORK = 10**6


def scores(chain):
    return next(chain.stream(ScoringVisitor, [one_batch(some_texts(heads=(4,)))])).log_probs.cpu()


@pytest.mark.parametrize(
    ("free_bytes_of", "accelerators", "n_blocks"),
    [
        pytest.param(lambda whole, block: (whole, whole), DeviceBudget(2, WORK), (4, 0), id="the first holds all"),
        pytest.param(lambda whole, block: (whole - 2 * block, whole), DeviceBudget(2, WORK), (2, 2), id="two hold it"),
        pytest.param(
            lambda whole, block: (whole - 3 * block, 2 * block), DeviceBudget(2, WORK), (1, 2), id="the CPU has one"
        ),
        pytest.param(lambda whole, block: (whole - 2 * block, whole), DeviceBudget(1, WORK), (2, 0), id="one is used"),
        pytest.param(lambda whole, block: (2 * whole, whole), NO_DEVICES, (0, 0), id="none is used"),
        pytest.param(
            lambda whole, block: (3 * whole, whole), DeviceBudget(1, 0, device_share=0.7), (2, 0), id="a share is used"
        ),
    ],
)
def test_every_accelerator_has_its_blocks_and_keeps_room_for_the_work(path, free_bytes_of, accelerators, n_blocks):
    sizes = footprint(path, "float32")
    assert sizes.tied > 0
    expected = scores(local_chain(path, accelerators=NO_DEVICES))
    rooms = free_bytes_of(shard_bytes(sizes, range(4)) + 1000, sizes.block)
    free_bytes = tuple(int((room + WORK) / 0.9) + 1 for room in rooms)
    with pretended_gpus(2, free_bytes=free_bytes):
        chain = local_chain(path, accelerators=accelerators)
        for number, n in enumerate(n_blocks):
            allocated = torch.cuda.memory_allocated(number)
            assert allocated <= max(0, rooms[number])
            assert n * sizes.block <= allocated
        where = [next(module.parameters()).device for module in chain.shards[0].runner.modules.values()]
        assert [where.count(torch.device(f"cuda:{number}")) for number in range(2)] == list(n_blocks)
        if n_blocks[0]:
            assert chain.shards[0].runner.head.weight.device == torch.device("cuda:0")
        assert torch.equal(scores(chain), expected)


def test_a_shard_on_accelerators_and_disk_leaves_only_the_other_blocks_to_its_budget(path):
    sizes = footprint(path, "float32")
    room = shard_bytes(sizes, range(4)) - 2 * sizes.block
    expected = scores(local_chain(path, accelerators=NO_DEVICES))
    with pretended_gpus(free_bytes=int(room / 0.9) + 1 + WORK):
        budget = MemoryBudget(PROCESS_BYTES + WORKING_BYTES + sizes.block, WORKING_BYTES)
        chain = local_chain(path, budget=budget, accelerators=DeviceBudget(1, int(WORK * 0.9)))
        assert chain.limit is not None, "blocks are on disk"
        assert torch.equal(scores(chain), expected)
