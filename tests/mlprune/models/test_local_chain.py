from threading import Barrier, current_thread

import pytest

from mlprune.errors import ModelError
from mlprune.models.block_ranges import shard_of
from mlprune.models.chain import Chain
from mlprune.models.local_chain import LocalChain, load_shard, local_chain
from mlprune.models.shard import Shard
from tests.refusals import refused


def test_shards_that_do_not_cover_the_model_in_order_are_an_error(folders):
    first, last = (load_shard(folders["gpt2"], span, n_blocks=3, dtype="float32") for span in (range(1), range(1, 3)))
    chain: Chain = LocalChain([first, last])
    assert (chain.n_blocks, chain.spans) == (3, (range(1), range(1, 3)))
    for shards in ([], [first], [last, first]):
        with pytest.raises(ModelError, match="do not follow each other"):
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
