"""Counts of active neurons against the signs of the inputs of the activation functions."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune.errors import ModelError, StatisticsError
from mlprune.models.checkpoint.weight_files import WeightFiles, weight_name
from mlprune.models.families.checks import check_layers, oriented
from mlprune.models.families.records import FAMILIES
from mlprune.models.inference.neuron_counting import ActiveNeuronVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import TokenBatch
from mlprune.models.shard_loader import load_shard
from tests.chains import budget_for, run_visitor
from tests.tiny_models import ALL_FAMILY_NAMES, PAD, save_tiny_model, tiny_model

LENGTHS = (7, 4, 1)
BLOCKS = 3


@pytest.fixture(scope="module")
def xglm(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("xglm"), seed=3, blocks=BLOCKS)


def batch():
    mask = torch.arange(max(LENGTHS)).unsqueeze(0) < torch.tensor(LENGTHS).unsqueeze(1)
    ids = torch.randint(3, 259, mask.shape, generator=torch.Generator().manual_seed(0))
    return TokenBatch(torch.where(mask, ids, PAD), mask, mask)


def counted(chain):
    return next(chain.stream(ActiveNeuronVisitor, [batch()]))


def positive_inputs(model, family):
    """Block -> [neurons], tokens at which the input of the activation function is positive, one text at a time.

    Every activation function of a family keeps the sign. Of a gated feed-forward the gate is what counts; where gate
    and up projection are one layer, it comes first.
    """
    layer = family.feed_forward[0][0]
    read = {}
    for block, module in enumerate(model.get_submodule(family.blocks)):
        hook = lambda _, args, block=block: read.update({block: args[0].reshape(-1, args[0].shape[-1])})  # noqa: E731
        module.get_submodule(layer).register_forward_pre_hook(hook)
    texts, counts = batch(), {}
    for row, length in enumerate(LENGTHS):
        with torch.inference_mode():
            model(texts.token_ids[row : row + 1, :length], use_cache=False)
        for block, inputs in read.items():
            linear = model.get_submodule(f"{family.blocks}.{block}.{layer}")
            before = inputs.double() @ oriented(linear.weight, family).T.double()
            before = before + (0 if linear.bias is None else linear.bias.double())
            counts[block] = counts.get(block, 0) + (before > 0).sum(dim=0)
    return counts


def weights(path, family, block, layer):
    return WeightFiles(path, family).read(weight_name(family, block, layer), torch.float32)


def layers_of(family):
    """One layer before the neurons, and the layer after them."""
    before, after = family.feed_forward
    return before[-1], after


@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_a_neuron_fires_if_the_input_of_its_activation_function_is_positive(name, tmp_path):
    family, path = FAMILIES[name], save_tiny_model(tmp_path, name, seed=3, blocks=2)
    active = counted(local_chain(path))
    expected = positive_inputs(AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval(), family)
    assert active.n_tokens == sum(LENGTHS)
    assert list(active.counts) == list(expected) == [0, 1]
    for block, counts in active.counts.items():
        assert counts.dtype == torch.int64
        assert torch.equal(counts, expected[block][: len(counts)])
        before, after = (oriented(weights(path, family, block, layer), family) for layer in layers_of(family))
        assert (before.shape[0] % len(counts), after.shape[1]) == (0, len(counts))
        assert 0 < int(counts.sum()) < counts.numel() * sum(LENGTHS)


def test_neither_shards_nor_offloading_nor_threads_change_a_count(xglm, threads):
    expected = counted(local_chain(xglm))
    for options in ({"n_shards": 2}, {"n_shards": 3}, {"budget": budget_for(xglm, 1)}):
        active = counted(local_chain(xglm, **options))
        assert all(torch.equal(active.counts[block], expected.counts[block]) for block in range(BLOCKS))
    threads(2)
    for active in local_chain(xglm).stream(ActiveNeuronVisitor, [batch()] * 4):
        assert all(torch.equal(active.counts[block], expected.counts[block]) for block in range(BLOCKS))


def test_messages_between_shards_can_be_pickled(xglm):
    active = run_visitor(local_chain(xglm, n_shards=2).shards, ActiveNeuronVisitor(batch()), pickled=True)
    expected = counted(local_chain(xglm))
    assert all(torch.equal(active.counts[block], expected.counts[block]) for block in range(BLOCKS))


def test_a_non_finite_activation_is_an_error_that_names_its_block(xglm):
    shard = load_shard(xglm, range(BLOCKS), n_blocks=BLOCKS, dtype="float32")
    with torch.no_grad():
        shard.runner.modules[1].fc1.bias.fill_(float("inf"))
    with pytest.raises(StatisticsError, match="not finite") as caught:
        run_visitor([shard], ActiveNeuronVisitor(batch()))
    assert caught.value.context == {"block": 1}


def test_a_block_without_the_activation_of_its_record_is_rejected():
    block = tiny_model("xglm", seed=0, blocks=1).model.layers[0]
    del block.activation_fn
    with pytest.raises(ModelError, match="lacks the activation"):
        check_layers(block, FAMILIES["xglm"], block=0)
