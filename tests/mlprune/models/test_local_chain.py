"""Chains in one process: block ranges, messages, shards and their oneDNN layers, streams, and helpers on top."""

import pickle
from functools import partial
from threading import Barrier, current_thread

import pytest
import torch
from torch import nn

from mlprune.errors import ModelError, ShapeError
from mlprune.models import local_chain as module
from mlprune.models.block_ranges import plan_spans, shard_of
from mlprune.models.chain import Chain, advance_to, stream_tagged
from mlprune.models.local_chain import LocalChain, _spare_bytes, load_shard, local_chain, stored_weights, use_onednn
from mlprune.models.messages import BlockCall, CacheSlot, DecodeStep, TokenBatch, calls_on
from mlprune.models.placement.budget import ALL_DEVICES, NO_DEVICES, DeviceBudget
from mlprune.models.shard import Shard
from mlprune.numeric.log_probs import MIN_WEIGHTS
from tests.refusals import refused
from tests.tiny_models import ARCHITECTURES


def test_shards_that_do_not_cover_the_model_in_order_are_an_error(folders):
    first, last = (load_shard(folders["gpt2"], span, n_blocks=3, dtype="float32") for span in (range(1), range(1, 3)))
    chain: Chain = LocalChain([first, last])
    assert (chain.n_blocks, chain.spans) == (3, (range(1), range(1, 3)))
    for shards in ([], [first], [last, first]):
        with pytest.raises(ModelError):
            LocalChain(shards)


def test_a_call_reaches_the_shard_that_has_the_block(folders):
    chain = local_chain(folders["bloom"], n_shards=3)
    for block in range(3):
        assert shard_of(chain.spans, block) == block
        assert chain.on_block(block, Shard.sweep_prune, block, lambda weights, _: ({}, {}, len(weights))) == 4
    with refused(ModelError, expected="0 to 2", got=3):
        chain.on_block(3, Shard.sweep_advance, 3, [])
    with refused(ModelError, expected="1 to 3 shards", got=4):
        local_chain(folders["bloom"], n_shards=4)


class FakeVisitor:
    """Visitor of a number; a function computes its result."""

    def __init__(self, item, function):
        self.item, self.function = item, function


class FakeShard:
    """A shard of one block, which records itself in each visitor."""

    def __init__(self, number, *, n_blocks):
        self.blocks, self.n_blocks = range(number, number + 1), n_blocks

    def group_limit(self):
        return None

    def advance(self, messages):
        for message in messages:
            message.visitor.item = (message.visitor.item, self.blocks.start)
        return messages

    def finish(self, messages):
        return [message.visitor.function(message.visitor.item) for message in self.advance(messages)]


def test_one_thread_draws_items_one_by_one_and_returns_results_in_item_order(threads):
    threads(1)
    chain = LocalChain([FakeShard(number, n_blocks=2) for number in range(2)])
    drawn = []

    def items():
        for n in range(3):
            drawn.append(n)
            yield n

    results = chain.stream(lambda item: FakeVisitor(item, lambda passed: passed), items())
    assert next(results) == ((0, 0), 1)
    assert drawn == [0]
    assert list(results) == [((1, 0), 1), ((2, 0), 1)]


def test_two_threads_process_items_concurrently_and_return_results_in_item_order(threads):
    threads(2)
    both_are_in = Barrier(2, timeout=300)

    def meet(passed):
        both_are_in.wait()
        return passed[0], current_thread().name

    chain = LocalChain([FakeShard(0, n_blocks=1)])
    results = list(chain.stream(lambda item: FakeVisitor(item, meet), range(6)))
    assert [item for item, _ in results] == list(range(6))
    assert len({name for _, name in results}) == 2


IN, OUT = 512, MIN_WEIGHTS // 512


def layer(*, n_out: int = OUT) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(IN, n_out)


def test_a_layer_multiplies_by_its_weight_adds_its_bias_calls_its_hooks_and_has_gradients() -> None:
    quick, plain = layer(), layer()
    use_onednn(quick)
    assert "forward" in vars(quick)
    seen: list[torch.Size] = []
    quick.register_forward_pre_hook(lambda _module, args: seen.append(args[0].shape))
    inputs = torch.randn(2, 5, IN, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(quick(inputs), plain(inputs), rtol=1e-5, atol=1e-5)
    quick(torch.ones(1, IN)).sum().backward()
    assert torch.equal(quick.weight.grad, torch.ones(OUT, IN))
    assert seen == [inputs.shape, torch.Size((1, IN))]
    with torch.inference_mode():
        quick.weight.zero_()
        assert torch.equal(quick(torch.ones(1, IN))[0], quick.bias)


def test_small_layers_subclasses_of_linear_and_layers_without_the_operation_keep_their_forward(monkeypatch) -> None:
    class Subclass(nn.Linear):
        pass

    modules = nn.ModuleList([layer(n_out=OUT - 1), Subclass(IN, OUT)])
    use_onednn(modules)
    monkeypatch.setattr(module, "has_quick_products", lambda: False)
    modules.append(layer())
    use_onednn(modules)
    assert all("forward" not in vars(part) for part in modules)


def test_blocks_the_model_does_not_have_are_an_error(folders):
    for blocks, n_blocks in ((range(2, 4), 3), (range(2), 2), (range(0), 3)):
        with refused(ModelError, got=3):
            load_shard(folders["xglm"], blocks, n_blocks=n_blocks, dtype="float32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_read_again_equal_the_loaded_ones(folders, dtype):
    runner, family = load_shard(folders["gpt2"], range(3), n_blocks=3, dtype=dtype).runner, ARCHITECTURES["gpt2"]
    read = stored_weights(folders["gpt2"], family, 1, layers=family.layers)
    assert list(read) == list(family.layers)
    for name, weight in read.items():
        loaded = runner.modules[1].get_submodule(name).weight
        assert weight.dtype == torch.float32
        assert torch.equal(weight.to(loaded.dtype), loaded)


def test_restoring_weights_from_a_deleted_file_is_an_error(path):
    shard = load_shard(path, range(3), n_blocks=3, dtype="float32")
    shard.set_keep_masks({(0, "fc1"): torch.zeros(64, 16, dtype=torch.bool)})
    (path / "model.safetensors").unlink()
    with refused(ModelError, expected="model.safetensors or model.safetensors.index.json"):
        shard.set_keep_masks(None)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: ((1000, 400)[device.index], 2000))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 300)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (DeviceBudget(working_bytes=500), [400, 0]),  # 0.9 of the free memory without that of the work
        (DeviceBudget(1, working_bytes=500), [400]),
        (DeviceBudget(0.5, working_bytes=500), [100]),  # also without the weights, which are in the fraction
        (DeviceBudget(working_bytes=500, device_share=0.5), []),  # memory ran out before
        (NO_DEVICES, []),
        (ALL_DEVICES, []),  # no plan of the working memory
    ],
)
def test_dense_copies_get_the_memory_that_weights_and_work_leave(two_gpus, monkeypatch, budget, expected):
    assert [_spare_bytes(budget).get(torch.device("cuda", n)) for n in range(len(expected))] == expected
    assert len(_spare_bytes(budget)) == len(expected)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _spare_bytes(budget) == {}


class FakeChain:
    """Draws items some positions ahead of their results, and logs calls of blocks."""

    def __init__(self, *, n_ahead=0, n_lost=0):
        self.n_ahead, self.n_lost = n_ahead, n_lost
        self.n_blocks, self.spans = 3, (range(2), range(2, 3))
        self.calls = []

    def stream(self, operation, items):
        waiting = []
        for item in items:
            waiting.append(operation(item))
            if len(waiting) > self.n_ahead:
                yield waiting.pop(0)
        yield from waiting[: len(waiting) - self.n_lost]

    def on_block(self, block, method, *args):
        self.calls.append((block, method, args))
        return "states"


@pytest.mark.parametrize("n_ahead", [0, 3])
def test_each_result_comes_with_the_tag_of_its_item(n_ahead):
    tagged = ((f"tag {n}", n) for n in range(5))
    results = stream_tagged(FakeChain(n_ahead=n_ahead), partial(pow, 2), tagged)
    assert list(results) == [(f"tag {n}", 2**n) for n in range(5)]


def test_a_chain_that_loses_a_result_is_an_error():
    with pytest.raises(AssertionError):
        list(stream_tagged(FakeChain(n_ahead=2, n_lost=1), partial(pow, 2), [("a", 1), ("b", 2)]))


def test_states_of_a_sweep_move_only_between_shards():
    chain = FakeChain()
    for block in range(2):
        advance_to(chain, block, ["a", "b"])
    assert chain.calls == []
    advance_to(chain, 2, ["a", "b"])
    assert chain.calls == [
        call
        for key in ("a", "b")
        for call in ((1, Shard.sweep_release, (key,)), (2, Shard.sweep_accept, (key, "states")))
    ]


def test_spans_are_consecutive_and_balanced():
    assert plan_spans(7, 3) == (range(3), range(3, 5), range(5, 7))
    for n_blocks in range(1, 9):
        for n_shards in range(1, n_blocks + 1):
            spans = plan_spans(n_blocks, n_shards)
            assert [block for span in spans for block in span] == list(range(n_blocks))
            assert max(map(len, spans)) - min(map(len, spans)) <= 1


@pytest.mark.parametrize("n_shards", [0, 4])
def test_zero_shards_or_more_shards_than_blocks_are_an_error(n_shards):
    with refused(ModelError, expected="1 to 3 shards"):
        plan_spans(3, n_shards)


def test_the_shard_of_a_block_is_found_by_its_range():
    spans = plan_spans(5, 2)
    assert [shard_of(spans, block) for block in range(5)] == [0, 0, 0, 1, 1]
    with refused(ModelError, expected="0 to 4", got=5):
        shard_of(spans, 5)


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


TOKEN_IDS = torch.ones(2, 3, dtype=torch.int64)
MASK = torch.ones(2, 3, dtype=torch.bool)


def test_a_token_batch_with_tensors_of_different_shapes_is_an_error():
    assert TokenBatch(TOKEN_IDS, MASK, MASK).token_ids is TOKEN_IDS
    with refused(ShapeError, expected=(2, 3), got=(2, 2)):
        TokenBatch(TOKEN_IDS, MASK[:, :2], MASK)
    with refused(ShapeError, expected=(2, 3), got=(1, 3)):
        TokenBatch(TOKEN_IDS, MASK, MASK[:1])


def test_a_decoding_mask_shorter_than_the_tokens_is_an_error():
    assert DecodeStep("key", TOKEN_IDS[:, :1], MASK).key == "key"
    with refused(ShapeError, expected="(2, >= 3)", got=(2, 2)):
        DecodeStep("key", TOKEN_IDS, MASK[:, :2])
