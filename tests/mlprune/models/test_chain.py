"""Helpers on top of any chain."""

from functools import partial

import pytest

from mlprune.models.chain import advance_to, stream_tagged
from mlprune.models.shard import Shard


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
