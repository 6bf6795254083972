"""A new observation is one visitor class, which works in any chain."""

import pickle
from dataclasses import dataclass, field, is_dataclass
from functools import partial

import pytest
import torch

from mlprune.models.inference.block_influence import InfluenceVisitor
from mlprune.models.inference.capturing import CaptureVisitor
from mlprune.models.inference.hidden_sums import HiddenSumVisitor
from mlprune.models.inference.neuron_counting import ActiveNeuronVisitor
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.inference.visitor import BatchVisitor
from mlprune.models.local_chain import local_chain
from tests.chains import budget_for, run_visitor, text_batch
from tests.pretended_gpus import pretended_gpus
from tests.tiny_models import save_tiny_model


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
def path(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("xglm"), seed=3)


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
    "captured inputs": (partial(CaptureVisitor, inputs_of_block={0: ("fc2",), 1: ("self_attn.q_proj",)}), 9),
}
"""Visitor and its waits for a GPU: one for all it observes, and one for each captured text."""


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
