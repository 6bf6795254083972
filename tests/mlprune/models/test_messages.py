"""Calls of blocks as plain values."""

import pickle

import torch

from mlprune.errors import ShapeError
from mlprune.models.messages import BlockCall, CacheSlot, DecodeStep, TokenBatch, calls_on
from tests.refusals import refused


def test_instances_of_a_type_are_replaced_in_nested_arguments():
    call = BlockCall((1, [2, ("a", 3)]), {"x": {"y": 4, "z": None}})
    replaced = call.replace_instances(int, lambda number: number * 10)
    assert replaced == BlockCall((10, [20, ("a", 30)]), {"x": {"y": 40, "z": None}})
    assert call.args == (1, [2, ("a", 3)])


def test_every_slot_gets_the_cache():
    cache = object()
    call = pickle.loads(pickle.dumps(BlockCall((CacheSlot(),), {"past": [CacheSlot()], "use_cache": True})))
    filled = call.with_cache(cache)
    assert filled.args == (cache,)
    assert filled.kwargs == {"past": [cache], "use_cache": True}


def test_tensors_shared_by_calls_stay_shared_when_moved():
    mask, bias = torch.zeros(2), torch.zeros(3)
    moved = calls_on({0: BlockCall((mask,), {"bias": bias}), 4: BlockCall(((mask,),), {})}, torch.device("meta"))
    assert list(moved) == [0, 4]
    assert moved[0].args[0].device.type == moved[0].kwargs["bias"].device.type == "meta"
    assert moved[0].args[0] is moved[4].args[0][0]


IDS = torch.ones(2, 3, dtype=torch.int64)
MASK = torch.ones(2, 3, dtype=torch.bool)


def test_a_token_batch_with_tensors_of_different_shapes_is_an_error():
    assert TokenBatch(IDS, MASK, MASK).token_ids is IDS
    with refused(ShapeError, expected=(2, 3), got=(2, 2)):
        TokenBatch(IDS, MASK[:, :2], MASK)
    with refused(ShapeError, expected=(2, 3), got=(1, 3)):
        TokenBatch(IDS, MASK, MASK[:1])


def test_a_decoding_mask_shorter_than_the_tokens_is_an_error():
    assert DecodeStep("key", IDS[:, :1], MASK).key == "key"
    with refused(ShapeError, expected="(2, >= 3)", got=(2, 2)):
        DecodeStep("key", IDS, MASK[:, :2])
