"""Parts of a shard that are on disk."""

from threading import Event, current_thread

import pytest
import torch
from torch import nn

from mlprune.errors import ModelError
from mlprune.models.block_ranges import EMBEDDINGS
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.meta_model import MetaModel
from mlprune.models.placement.budget import ALL_DEVICES, NO_DEVICES, DeviceBudget, MemoryBudget
from mlprune.models.placement.memory_estimate import PROCESS_BYTES, footprint, shard_bytes
from mlprune.models.placement.offloaded_parts import BlockCache, OffloadedParts
from mlprune.models.placement.placed_modules import (
    CPU,
    PlacedModules,
    choose_devices,
    move_inputs,
)
from tests.chains import WORKING_BYTES, budget_for
from tests.pretended_gpus import pretended_gpus
from tests.refusals import refused
from tests.scored_texts import one_batch, some_texts
from tests.tiny_models import save_tiny_model


@pytest.fixture
def measured(monkeypatch):
    """Pretend three accelerators with 1000 free bytes of 2000; the numbers of those that are measured."""
    numbers = []

    def memory(number):
        numbers.append(number)
        return 1000, 2000

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)
    return numbers


def layers(n, n_bytes):
    with torch.device("meta"):
        return {f"{index}": nn.Linear(n_bytes // 2, 1, bias=False, dtype=torch.float16) for index in range(n)}


def where(devices):
    return ["cpu" if device == CPU else device.index for device in devices.values()]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an accelerator")
def test_without_an_accelerator_all_modules_stay_on_the_cpu_unchanged():
    modules = {"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}
    devices = choose_devices(modules, accelerators=ALL_DEVICES)
    assert devices == {"a": CPU, "b": CPU}
    move_inputs(modules, devices)
    assert not any(module._forward_pre_hooks for module in modules.values())


def test_without_a_budget_nothing_is_on_disk_and_with_one_the_first_modules_stay_in_memory():
    with torch.device("meta"):
        modules = {f"{n}": nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)) for n in range(5)}
    assert set(choose_devices(modules).values()) == {CPU}
    for n_bytes, n_staying in ((0, 0), (127, 0), (128, 1), (300, 2), (600, 4), (640, 5), (10**9, 5)):
        devices = choose_devices(modules, cpu_bytes=n_bytes)
        assert list(devices.values()) == [CPU] * n_staying + [None] * (5 - n_staying)


def test_an_actor_without_accelerators_uses_and_measures_none(measured):
    assert where(choose_devices(layers(3, 100), accelerators=DeviceBudget(0))) == ["cpu"] * 3
    assert measured == []


@pytest.mark.parametrize(
    ("accelerators", "expected", "n_measured"),
    [
        (DeviceBudget(2, working_bytes=600), [0, 0, 0, 1, 1, 1, "cpu", "cpu"], 2),
        (DeviceBudget(3, working_bytes=600), [0, 0, 0, 1, 1, 1, 2, 2], 3),
        (DeviceBudget(1), [0] * 8, 1),
        (DeviceBudget(0.25, working_bytes=50), [0, 0, 0, 0, "cpu", "cpu", "cpu", "cpu"], 1),
        (DeviceBudget(1, device_share=0.5), [0] * 4 + ["cpu"] * 4, 1),
        (DeviceBudget(1, working_bytes=2000), ["cpu"] * 8, 1),
    ],
)
def test_every_accelerator_of_an_actor_keeps_room_for_the_work(measured, accelerators, expected, n_measured):
    assert where(choose_devices(layers(8, 100), accelerators=accelerators)) == expected
    assert measured == list(range(n_measured))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_small_modules_go_to_the_first_accelerator_whole():
    with torch.device("meta"):
        modules = {"a": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "b": nn.Linear(2, 2)}
    assert set(choose_devices(modules, accelerators=ALL_DEVICES).values()) == {torch.device("cuda", 0)}


class Memory:
    """Fake memory that logs which parts are read and dropped."""

    def __init__(self, window):
        self.present, self.events, self.most = set(), [], 0
        self.broken = set()
        self.threads = set()
        self.cache = BlockCache(self.read, self.drop, window=window)

    def read(self, part):
        self.threads.add(current_thread().name.split("_")[0])
        self.present.add(part)
        self.most = max(self.most, len(self.present))
        if part in self.broken:
            raise OSError(f"part {part}")
        self.events.append(("load", part))

    def drop(self, part):
        self.present.discard(part)
        self.events.append(("drop", part))


def test_with_a_window_of_one_each_part_replaces_the_previous_and_nothing_is_read_ahead():
    memory = Memory(1)
    for part in range(3):
        memory.cache.load(part, next_part=part + 1)
        assert memory.present == {part}
    assert memory.most == 1
    assert memory.threads == {"MainThread"}
    memory.cache.clear()
    assert memory.present == set()


def test_with_a_window_of_two_the_next_part_is_read_once_in_the_background():
    memory = Memory(2)
    for part in range(4):
        memory.cache.load(part, next_part=part + 1 if part < 3 else None)
        assert memory.cache.has(part)
        assert memory.cache.has(part + 1) == (part < 3)
    memory.cache.wait()
    assert [event for event in memory.events if event[0] == "load"] == [("load", part) for part in range(4)]
    assert memory.most == 2
    assert memory.present == {3}
    assert memory.threads == {"MainThread", "reads-ahead"}


def test_a_part_in_memory_is_not_read_again():
    memory = Memory(2)
    for _ in range(3):
        memory.cache.load(5, next_part=6)
    memory.cache.wait()
    assert memory.events == [("load", 5), ("load", 6)]
    memory.cache.load(6)
    assert memory.events[2:] == [("drop", 5)]


def test_while_a_resident_part_runs_the_window_is_free_for_the_next_part():
    memory = Memory(1)
    memory.cache.load(None, next_part=4)
    memory.cache.wait()
    assert memory.present == {4}
    assert memory.threads == {"reads-ahead"}


def test_reading_ahead_continues_while_the_previous_part_runs():
    memory, may_end = Memory(2), Event()
    read = memory.read

    def slow(part):
        assert part == 0 or may_end.wait(300)
        read(part)

    memory.cache = BlockCache(slow, memory.drop, window=2)
    memory.cache.load(0, next_part=1)
    assert memory.present == {0}
    may_end.set()
    memory.cache.load(1)
    assert memory.present == {1}


@pytest.mark.parametrize("window", [1, 2])
def test_a_read_error_is_raised_when_the_part_is_loaded_and_leaves_no_partial_part(window):
    memory = Memory(window)
    memory.broken = {1}
    memory.cache.load(0, next_part=1)
    with pytest.raises(OSError, match="part 1"):
        memory.cache.load(1)
    assert 1 not in memory.present
    assert not memory.cache.has(1)
    memory.broken = set()
    memory.cache.load(1)
    assert memory.present == {1}


HEAD = 4


class Placed:
    """Logs which parts are read and dropped."""

    streams_experts = False

    def __init__(self, offloaded, *, window):
        self.offloaded, self.window = offloaded, window
        self.log, self.present = [], set()

    def read(self, part):
        self.log.append(("read", part))
        self.present.add(part)

    def drop(self, part):
        self.present.discard(part)


def parts_of(offloaded, *, window, blocks=range(4)):
    placed = Placed(offloaded, window=window)

    def restore(block):
        assert not torch.is_inference_mode_enabled()
        placed.log.append(("restore", block))

    return placed, OffloadedParts(placed, blocks, restore=restore)


def test_without_parts_on_disk_nothing_is_read():
    placed, parts = parts_of([], window=0)
    assert not parts
    assert parts.blocks == []
    assert parts.has(2)
    for part in (EMBEDDINGS, 0, HEAD):
        parts.load(part)
    parts.wait()
    parts.clear()
    assert placed.log == []


def test_every_part_is_restored_after_it_was_read():
    placed, parts = parts_of([EMBEDDINGS, 2, 3, HEAD], window=1)
    assert parts
    assert parts.blocks == [2, 3]
    with torch.inference_mode():
        for part in (EMBEDDINGS, 2, 3, HEAD):
            parts.load(part)
            assert placed.present == {part}
    parts_in_order = (EMBEDDINGS, 2, 3, HEAD)
    assert placed.log == [(what, part) for part in parts_in_order for what in ("read", "restore")]
    parts.clear()
    assert placed.present == set()


def test_the_next_block_on_disk_is_read_while_a_resident_block_runs():
    placed, parts = parts_of([2, 3], window=1)
    parts.load(0)
    parts.wait()
    assert placed.present == {2}
    assert parts.has(0)
    assert parts.has(2)
    assert not parts.has(3)


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
    with refused(ModelError, expected="0.87 GiB or more", got="0.60 GiB"):
        placed(path, budget=MemoryBudget(PROCESS_BYTES, WORKING_BYTES))


WORK = 10**6


def scores(chain):
    return next(chain.stream(ScoringVisitor, [one_batch(some_texts(heads=(4,)))])).log_probs.cpu()


@pytest.mark.thorough("runs a model for every case")
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
