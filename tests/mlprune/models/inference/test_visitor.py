"""A new observation is one visitor class, which works in any chain."""

import pickle
from contextlib import nullcontext
from dataclasses import dataclass, field, is_dataclass
from functools import partial
from itertools import pairwise

import pytest
import torch

from mlprune.capabilities.baselines.hidden_means import HiddenSumVisitor
from mlprune.capabilities.neurons.neuron_activity import ActiveNeuronVisitor
from mlprune.errors import StatisticsError
from mlprune.models.block_ranges import EMBEDDINGS
from mlprune.models.inference.decoding import DecodingVisitor
from mlprune.models.inference.observation import (
    CaptureVisitor,
    InfluenceVisitor,
    StatisticsVisitor,
)
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.inference.visitor import BatchVisitor, ShardMessage, finish, group_visitors, run_blocks_in_step
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import Continuations, DecodeStep, ScoringBatch, TokenBatch
from mlprune.models.placement.budget import GroupLimit
from tests.chains import budget_for, run_visitor, text_batch
from tests.pretended_gpus import pretended_gpus
from tests.refusals import refused


@dataclass
class LargestState(BatchVisitor[dict[int, float]]):
    """Find the largest absolute value of the hidden states after each block."""

    largest: dict[int, float] = field(init=False, default_factory=dict)

    def around_block(self, runner, block, states):
        after = runner.step(block, states)
        self.largest[block] = float(after.hidden[self.batch.counted].abs().max())
        return after

    def result(self):
        return self.largest


@pytest.fixture(scope="module")
def path(folders):
    return folders["xglm"]


def largest_by_hooks(path):
    """The same from hooks on the blocks."""
    (shard,) = local_chain(path).shards
    batch, largest, states = text_batch(), {}, None
    for block, module in shard.runner.modules.items():
        module.register_forward_hook(
            lambda _, args, output, block=block: largest.update({block: float(output[batch.counted].abs().max())})
        )
    with torch.inference_mode():
        states = shard.runner.embed(batch.token_ids, batch.attention_mask)
        for block in shard.blocks:
            states = shard.runner.step(block, states)
    return largest


def test_a_visitor_defined_in_a_test_observes_in_shards_offloaded_and_pickled(path):
    expected = largest_by_hooks(path)
    assert list(expected) == [0, 1, 2]
    for options in ({}, {"n_shards": 2}, {"n_shards": 3}, {"budget": budget_for(path, 1)}):
        chain = local_chain(path, **options)
        assert list(chain.stream(LargestState, [text_batch()] * 3)) == [expected] * 3
    shards = local_chain(path, n_shards=3).shards
    assert run_visitor(shards, LargestState(text_batch()), pickled=True) == expected


def test_a_visitor_class_is_an_operation_that_can_be_pickled():
    operation = pickle.loads(pickle.dumps(LargestState))
    visitor = operation(text_batch())
    assert visitor.needs_block(2)
    assert not visitor.needs_head


VISITORS = {
    "statistics": (StatisticsVisitor, 1),
    "hidden sums": (HiddenSumVisitor, 1),
    "block influence": (InfluenceVisitor, 1),
    "active neurons": (ActiveNeuronVisitor, 1),
    "captured inputs": (partial(CaptureVisitor, inputs_of_block={0: ("self_attn.q_proj",), 1: ("fc2",)}), 9),
}
"""Visitor and its waits for a GPU: one for all it observes, and one for each captured text."""


@pytest.mark.thorough("runs a model for every case")
def test_visitors_observe_on_accelerators_with_few_waits_to_the_bits_of_the_cpu(path):
    on_cpu = local_chain(path)
    expected = {name: next(on_cpu.stream(operation, [text_batch()])) for name, (operation, _) in VISITORS.items()}
    with pretended_gpus() as ledger:
        chain, shards = local_chain(path), local_chain(path, n_shards=2).shards
        for name, (operation, n_waits) in VISITORS.items():
            ledger.clear()
            (result,) = chain.stream(operation, [text_batch()])
            assert ledger.waits == n_waits, ledger.by_line()
            assert_same(result, expected[name])
            assert_same(run_visitor(shards, operation(text_batch()), pickled=True), expected[name])


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", VISITORS)
def test_what_is_not_finite_is_an_error_that_names_its_block(broken_folder, name):
    for place in (nullcontext, pretended_gpus):
        with place(), refused(StatisticsError, block=1):
            list(local_chain(broken_folder).stream(VISITORS[name][0], [text_batch()]))


@pytest.mark.thorough("runs a model for every case")
def test_neither_shards_nor_offloading_nor_threads_change_a_bit(path, threads):
    whole = local_chain(path)
    expected = {name: next(whole.stream(operation, [text_batch()])) for name, (operation, _) in VISITORS.items()}
    budget = budget_for(path, 1)
    for n_threads, options in ((1, {"n_shards": 2}), (2, {"n_shards": 3}), (1, {"budget": budget}), (2, {})):
        threads(n_threads)
        chain = local_chain(path, **options)
        for name, (operation, _) in VISITORS.items():
            assert_same(list(chain.stream(operation, [text_batch()] * 3)), [expected[name]] * 3)


def assert_same(value, expected):
    """Check that two results have the same tensors, bit for bit."""
    if isinstance(expected, torch.Tensor):
        assert value.device == expected.device
        assert torch.equal(value, expected)
    elif isinstance(expected, dict):
        assert list(value) == list(expected)
        assert_same(list(value.values()), list(expected.values()))
    elif isinstance(expected, list | tuple):
        for one, other in zip(value, expected, strict=True):
            assert_same(one, other)
    elif is_dataclass(expected):
        assert_same(vars(value), vars(expected))
    else:
        assert value == expected


LIMIT = GroupLimit(per_token=100, per_row=1000, per_input=50, n_bytes=10_000)


def statistics_of(n_rows, length):
    mask = torch.ones(n_rows, length, dtype=torch.bool)
    return StatisticsVisitor(TokenBatch(mask.long(), mask, mask))


def test_a_group_has_as_many_visitors_as_its_limit_allows_in_order_and_at_least_one():
    sizes = [(1, 10), (1, 10), (2, 10), (1, 90), (1, 2), (3, 2)]
    visitors = [statistics_of(*size) for size in sizes]
    cost = [n * (length * (100 + 4 * length) + 1000) for n, length in sizes]
    groups = list(group_visitors(visitors, LIMIT))
    assert [id(visitor) for group in groups for visitor in group] == [id(visitor) for visitor in visitors]
    assert [len(group) for group in groups] == [3, 1, 2]
    costs = [cost[:3], cost[3:4], cost[4:]]
    assert all(sum(group) <= LIMIT.n_bytes or len(group) == 1 for group in costs)
    assert all(sum(group) + after[0] > LIMIT.n_bytes for group, after in pairwise(costs))


def test_decoding_steps_cost_nothing():
    mask = torch.ones(4, 5, dtype=torch.bool)
    visitor = DecodingVisitor(DecodeStep("key", mask.long(), mask))
    assert [len(group) for group in group_visitors([visitor] * 50, LIMIT)] == [50]
    assert list(group_visitors([], LIMIT)) == []


def test_captured_activations_cost_their_tokens_at_every_chosen_input():
    mask = torch.ones(1, 10, dtype=torch.bool)
    for chosen, n in (({}, 4), ({0: ("fc1",), 1: ("fc1", "fc2")}, 2)):
        visitor = CaptureVisitor(TokenBatch(mask.long(), mask, mask), chosen)
        assert [len(group) for group in group_visitors([visitor] * n * 2, LIMIT)] == [n, n]


def test_texts_to_score_cost_the_tokens_of_prefixes_and_continuations():
    mask = torch.ones(2, 5, dtype=torch.bool)
    after = Continuations(mask.long(), mask, torch.tensor([0, 0]))
    batch = ScoringBatch(mask[:1].long(), mask[:1], (after, after), torch.tensor([0]), torch.tensor([3]))
    assert batch.n_computed == 25
    assert [len(group) for group in group_visitors([ScoringVisitor(batch)] * 5, LIMIT)] == [2, 2, 1]


def test_visitors_are_drawn_one_group_at_a_time():
    drawn = []

    def visitors():
        for n in range(9):
            drawn.append(n)
            yield statistics_of(1, 40)

    groups = group_visitors(visitors(), LIMIT)
    assert len(next(groups)) == 1
    assert drawn == [0, 1]


class Runner:
    """First and last shard of a model with some blocks."""

    is_first = True

    def __init__(self, n_blocks):
        self.blocks, self.n_blocks = range(n_blocks), n_blocks


class LoggingVisitor:
    """Logs the parts that it runs; its states are the number of parts so far."""

    def __init__(self, name, log, *, last_block=9, needs_head=True):
        self.name, self.log, self.last_block, self.needs_head = name, log, last_block, needs_head

    def start(self, runner):
        self.log.append((self.name, EMBEDDINGS))
        return (1,)

    def needs_block(self, block):
        return block <= self.last_block

    def visit(self, runner, block, states):
        self.log.append((self.name, block))
        return (states[0] + 1,)

    def finish(self, runner, states):
        self.log.append((self.name, runner.n_blocks))
        return f"{self.name} {states[0]}"


def run_all(visitors, log, *, n_blocks=2):
    """Results of visitors in a model; loads are logged too."""
    runner, messages = Runner(n_blocks), [ShardMessage(visitor) for visitor in visitors]

    def load(part):
        log.append(("load", part))

    run_blocks_in_step(runner, messages, load)
    return finish(runner, messages, load, one_by_one=True)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_all_visitors_pass_a_part_before_any_enters_the_next(threads, n_threads):
    threads(n_threads)
    log = []
    results = run_all([LoggingVisitor(name, log) for name in "abc"], log)
    assert results == ["a 3", "b 3", "c 3"]
    assert [log.index(("load", part)) for part in (EMBEDDINGS, 0, 1, 2)] == [0, 4, 8, 12]
    for start in (0, 4, 8, 12):
        assert {name for name, _ in log[start + 1 : start + 4]} == set("abc")
    assert [name for name, _ in log[13:]] == ["a", "b", "c"]


def test_only_parts_that_a_visitor_needs_are_loaded():
    log = []
    visitors = [LoggingVisitor(name, log, last_block=n, needs_head=False) for n, name in enumerate("ab")]
    assert run_all(visitors, log, n_blocks=4) == ["a 2", "b 3"]
    assert [part for name, part in log if name == "load"] == [EMBEDDINGS, 0, 1]
    assert ("a", 1) not in log
    assert run_all([], []) == []


def test_an_error_of_one_visitor_is_raised():
    class Broken(LoggingVisitor):
        def visit(self, runner, block, states):
            raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        run_all([LoggingVisitor("a", []), Broken("b", [])], [])
