"""Sizes of models in memory, room for weights on accelerators, and the parts that fill it."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from mlprune.errors import ModelError
from mlprune.models.block_ranges import plan_spans
from mlprune.models.placement import placed_modules
from mlprune.models.placement.budget import (
    ALL_DEVICES,
    NO_DEVICES,
    USABLE_SHARE,
    DeviceBudget,
    DeviceMemory,
    DevicePlacement,
    GroupLimit,
    MemoryBudget,
    Residency,
    group_limit,
    place_parts,
    residency,
    resident_blocks,
    smallest_budget,
)
from mlprune.models.placement.memory_estimate import (
    GROUP_BYTES,
    PROCESS_BYTES,
    Footprint,
    estimate_working_bytes,
    footprint,
    pruning_bytes,
    shard_bytes,
)
from mlprune.models.placement.placed_modules import choose_devices
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, ARCHITECTURES, HIDDEN, VOCABULARY, load_shard_module

IDLE = [DeviceMemory(1000, 1000)] * 3


def test_every_accelerator_keeps_a_reserve_and_room_for_the_work() -> None:
    assert DeviceBudget(2, working_bytes=300).weight_rooms(IDLE, weight_bytes=1) == (600, 600)
    assert ALL_DEVICES.weight_rooms(IDLE, weight_bytes=1) == (900, 900, 900)
    assert DeviceBudget(9, working_bytes=950).weight_rooms(IDLE, weight_bytes=1) == (0, 0, 0)
    assert NO_DEVICES.weight_rooms(IDLE, weight_bytes=1) == ()


def test_an_actor_has_its_fraction_of_an_accelerator_and_never_more_than_is_free() -> None:
    quarter = DeviceBudget(0.25, working_bytes=25)
    assert quarter.weight_rooms(IDLE, weight_bytes=1) == (200,)
    assert quarter.weight_rooms([DeviceMemory(100, 1000)], weight_bytes=1) == (65,)
    planned = DeviceBudget(0.25, working_bytes=25, fraction_bytes=150)
    assert planned.weight_rooms(IDLE, weight_bytes=1) == (110,)


@pytest.mark.parametrize(("weight_bytes", "expected"), [(180, (45, 45)), (10**6, (450, 450))])
def test_a_smaller_device_share_moves_weights_off_accelerators_even_if_they_had_room(
    weight_bytes: int, expected: tuple[int, int]
) -> None:
    budget = DeviceBudget(2, device_share=0.5)
    assert budget.weight_rooms(IDLE, weight_bytes=weight_bytes) == expected


def sized(before: int, blocks: tuple[int, ...], tail: int, *, tied: int = 0) -> Footprint:
    return Footprint(
        before, blocks, tail, tied, before, prunable=(1,), widest=1, hidden=1, inputs=1, vocabulary=1, itemsize=1
    )


def module(n_bytes: int) -> nn.Module:
    inner = nn.Module()
    inner.weight = nn.Parameter(torch.empty(n_bytes, dtype=torch.uint8, device="meta"), requires_grad=False)
    return inner


def with_rooms(monkeypatch: pytest.MonkeyPatch, rooms: list[int]) -> DeviceBudget:
    """Pretend idle accelerators with this room for weights."""
    memory = [DeviceMemory(-(-room * 1000 // int(1000 * USABLE_SHARE)), 10**9) for room in rooms]
    monkeypatch.setattr(placed_modules, "accelerator_memory", lambda _: memory)
    assert ALL_DEVICES.weight_rooms(memory, weight_bytes=1) == tuple(rooms)
    return ALL_DEVICES


@given(
    st.integers(1, 40),
    st.lists(st.integers(1, 20), min_size=1, max_size=8),
    st.integers(1, 40),
    st.booleans(),
    st.lists(st.integers(0, 90), min_size=1, max_size=3),
)
def test_the_planner_places_the_same_parts_as_accelerate(
    before: int, blocks: list[int], head: int, is_tied: bool, rooms: list[int]
) -> None:
    embeddings = module(before)
    end = embeddings if is_tied else module(head)
    modules = {"e": embeddings, **{f"{n}": module(size) for n, size in enumerate(blocks)}, "head": nn.Sequential(end)}
    tail = before if is_tied else head
    sizes = sized(before, tuple(blocks), tail, tied=tail if is_tied else 0)
    with pytest.MonkeyPatch.context() as patch:
        devices = choose_devices(modules, accelerators=with_rooms(patch, rooms))
    placed = place_parts(sizes, range(len(blocks)), rooms)
    on_devices = {name for name, device in devices.items() if device is not None and device.type == "cuda"}
    assert placed.has_embeddings == ("e" in on_devices)
    assert placed.n_blocks == len(on_devices - {"e", "head"})
    assert (placed.has_head or (is_tied and placed.has_embeddings)) == ("head" in on_devices)
    on_host = sum(size for n, size in enumerate(blocks) if f"{n}" not in on_devices)
    on_host += before * ("e" not in on_devices) + tail * ("head" not in on_devices and not is_tied)
    assert placed.host_bytes(sizes, range(len(blocks))) == on_host


def test_a_shard_places_only_its_own_parts() -> None:
    sizes = sized(50, (10, 10, 10, 10), 50)
    first, last = place_parts(sizes, range(2), [70]), place_parts(sizes, range(2, 4), [25])
    assert first == DevicePlacement(2, has_embeddings=True, n_devices=1, fullest_bytes=70)
    assert last == DevicePlacement(2, n_devices=1, fullest_bytes=20)
    assert (first.host_bytes(sizes, range(2)), last.host_bytes(sizes, range(2, 4))) == (0, 50)


def test_a_part_that_does_not_fit_on_one_accelerator_goes_to_the_next() -> None:
    sizes = sized(5, (10, 10, 10), 5)
    assert place_parts(sizes, range(3), [18, 0, 25]) == DevicePlacement(3, True, True, 2, fullest_bytes=25)
    assert place_parts(sizes, range(3), [18, 18]) == DevicePlacement(2, True, False, 2, fullest_bytes=15)


def test_what_is_left_over_has_no_embeddings_and_no_shared_head() -> None:
    sizes = sized(50, (10, 10), 52, tied=50)
    left = DevicePlacement(1, has_embeddings=True).left_over(sizes)
    assert (left.before, left.tail, left.tied) == (0, 2, 0)
    assert shard_bytes(left, range(1, 2)) == 12
    assert DevicePlacement().left_over(sizes) == sizes


GIB = 2**30
LARGE = Footprint(
    before=2 * GIB,
    blocks=(GIB // 2,) * 8,
    tail=2 * GIB,
    tied=2 * GIB,
    on_demand=2 * GIB,
    prunable=(2**26, 2**26, 2**24),
    widest=2**14,
    hidden=2**12,
    inputs=2**15,
    vocabulary=2**18,
    itemsize=2,
)


def test_a_budget_has_room_for_all_blocks_or_for_resident_blocks_and_a_window():
    span, working = range(8), GIB
    whole = PROCESS_BYTES + working + shard_bytes(LARGE, span)
    assert whole == PROCESS_BYTES + working + 6 * GIB
    plans = {n: residency(LARGE, span, MemoryBudget(n, working)) for n in range(GIB * 3, whole + 1, GIB // 4)}
    assert residency(LARGE, span, MemoryBudget(whole, working)) == Residency(8, 0)
    assert residency(LARGE, span, MemoryBudget(whole - 1, working)).window == 2
    n_in_memory = [plan.n_resident + plan.window for plan in plans.values()]
    assert n_in_memory == sorted(n_in_memory)
    assert {plan.window for plan in plans.values()} == {2}
    for n_bytes, plan in plans.items():
        at_work = (plan.n_resident + plan.window) * LARGE.block + working
        at_the_end = plan.n_resident * LARGE.block + LARGE.tail
        assert PROCESS_BYTES + max(at_work, at_the_end) <= n_bytes


def test_the_smallest_budget_suffices_and_less_is_an_error_that_names_it():
    for sizes in (LARGE, replace(LARGE, before=9 * GIB), replace(LARGE, tail=GIB // 8)):
        for span in (range(8), range(4), range(4, 8), range(2, 5)):
            least = smallest_budget(sizes, span)
            assert residency(sizes, span, MemoryBudget(least)).window >= 1
            with pytest.raises(ModelError) as caught:
                residency(sizes, span, MemoryBudget(least - 2**21))
            named = float(str(caught.value.context["expected"]).split()[0]) * GIB
            assert least <= named < least + GIB / 50


def test_modules_before_the_blocks_need_room_except_for_rows_read_on_demand():
    at_least = smallest_budget(replace(LARGE, on_demand=0, before=5 * GIB), range(8))
    assert at_least == PROCESS_BYTES + GROUP_BYTES + 5 * GIB
    assert (
        smallest_budget(replace(LARGE, on_demand=5 * GIB, before=5 * GIB), range(4))
        == PROCESS_BYTES + estimate_working_bytes(LARGE) + GIB // 2
    )


def test_all_blocks_are_resident_only_if_nothing_is_offloaded():
    span = range(8)
    for quarter in range(12, 60):
        budget = MemoryBudget(quarter * GIB // 4)
        plan = residency(LARGE, span, budget)
        n = resident_blocks(LARGE, span, budget)
        assert (n == len(span)) == (plan.window == 0)
        assert n in (plan.n_resident + plan.window, len(span) - 1)


def test_the_limit_of_a_model_counts_its_states_and_its_sums(folders):
    sizes = footprint(folders["xglm"], "float32")
    limit = group_limit(sizes)
    assert limit == GroupLimit(4 * 16 * 4, 4 * 3 * (7 * 16 + 16), 64 * 4, GROUP_BYTES)


def bytes_in_memory(path, span, dtype):
    """Bytes of the parameters of a loaded shard, tied ones once, and of the buffers outside of blocks."""
    model = load_shard_module(path, span, dtype)
    n_bytes = sum(p.numel() * p.element_size() for p in model.parameters() if p.device.type != "meta")
    buffers = [b for name, b in model.named_buffers() if ".layers." not in name and ".h." not in name]
    return n_bytes + (sum(b.numel() * b.element_size() for b in buffers) if span.start == 0 else 0)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_sizes_are_those_of_the_loaded_shards(folders, name):
    family = ARCHITECTURES[name]
    for dtype, shard_numbers in (("float32", (1, 3)), ("bfloat16", (2,))):
        sizes = footprint(folders[name], dtype)
        for span in (span for n_shards in shard_numbers for span in plan_spans(3, n_shards)):
            assert shard_bytes(sizes, span) == bytes_in_memory(folders[name], span, dtype)
        block = load_shard_module(folders[name], range(1), dtype).get_submodule(family.blocks)[0]
        weights = [block.get_submodule(layer).weight for layer in family.layers]
        assert sizes.prunable == tuple(sorted((weight.numel() for weight in weights), reverse=True))
        assert sizes.block == sum(p.numel() * p.element_size() for p in block.parameters())
        assert (sizes.vocabulary, sizes.hidden, sizes.itemsize) == (VOCABULARY, HIDDEN, weights[0].element_size())
        assert sizes.widest == max(size for weight in weights for size in weight.shape)
        assert sizes.on_demand == VOCABULARY * HIDDEN * sizes.itemsize


def test_inputs_counts_the_features_of_the_distinct_inputs(folders):
    for name in ("xglm", "gpt2"):
        assert footprint(folders[name], "float32").inputs == 3 * HIDDEN + 4 * HIDDEN


def test_a_head_that_is_stored_in_the_checkpoint_is_not_tied(path):
    assert footprint(path, "float32").tied == VOCABULARY * HIDDEN * 4
    tensors = load_file(path / "model.safetensors")
    head = torch.randn_like(tensors["model.embed_tokens.weight"])
    save_file({**tensors, "lm_head.weight": head}, path / "model.safetensors")
    assert footprint(path, "float32").tied == 0


def test_a_checkpoint_that_lacks_a_tensor_is_an_error(path):
    tensors = load_file(path / "model.safetensors")
    del tensors["model.layer_norm.bias"]
    save_file(tensors, path / "model.safetensors")
    with refused(ModelError, expected="model.layer_norm.bias"):
        footprint(path, "float32")


def test_pruning_needs_more_memory_with_more_threads_and_states_with_more_tokens():
    weights = 2 * 2**26 + 2**24
    assert pruning_bytes(LARGE) == weights * 3 // 8 + 2**26 * (LARGE.itemsize + 6)
    assert pruning_bytes(LARGE, n_threads=2) == weights * 3 // 8 + 2**27 * (LARGE.itemsize + 6)
    assert pruning_bytes(LARGE, n_sparsities=4, n_threads=0) == weights * 9 // 8
    assert estimate_working_bytes(LARGE) == GROUP_BYTES + pruning_bytes(LARGE)
    assert estimate_working_bytes(LARGE, batch_tokens=2**14) == GROUP_BYTES + 2**14 * 2**14 * 16
