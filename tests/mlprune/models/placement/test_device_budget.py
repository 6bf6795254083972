"""Room for weights on accelerators, and the parts that fill it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mlprune.models.placement import device_map
from mlprune.models.placement.device_budget import (
    ALL_DEVICES,
    NO_DEVICES,
    USABLE_SHARE,
    DeviceBudget,
    DeviceMemory,
    DevicePlacement,
    place_parts,
)
from mlprune.models.placement.device_map import choose_devices
from mlprune.models.placement.memory_estimate import Footprint, shard_bytes

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


def footprint(before: int, blocks: tuple[int, ...], tail: int, *, tied: int = 0) -> Footprint:
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
    monkeypatch.setattr(device_map, "accelerator_memory", lambda _: memory)
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
    sizes = footprint(before, tuple(blocks), tail, tied=tail if is_tied else 0)
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
    sizes = footprint(50, (10, 10, 10, 10), 50)
    first, last = place_parts(sizes, range(2), [70]), place_parts(sizes, range(2, 4), [25])
    assert first == DevicePlacement(2, has_embeddings=True, n_devices=1, fullest_bytes=70)
    assert last == DevicePlacement(2, n_devices=1, fullest_bytes=20)
    assert (first.host_bytes(sizes, range(2)), last.host_bytes(sizes, range(2, 4))) == (0, 50)


def test_a_part_that_does_not_fit_on_one_accelerator_goes_to_the_next() -> None:
    sizes = footprint(5, (10, 10, 10), 5)
    assert place_parts(sizes, range(3), [18, 0, 25]) == DevicePlacement(3, True, True, 2, fullest_bytes=25)
    assert place_parts(sizes, range(3), [18, 18]) == DevicePlacement(2, True, False, 2, fullest_bytes=15)


def test_what_is_left_over_has_no_embeddings_and_no_shared_head() -> None:
    sizes = footprint(50, (10, 10), 52, tied=50)
    left = DevicePlacement(1, has_embeddings=True).left_over(sizes)
    assert (left.before, left.tail, left.tied) == (0, 2, 0)
    assert shard_bytes(left, range(1, 2)) == 12
    assert DevicePlacement().left_over(sizes) == sizes
