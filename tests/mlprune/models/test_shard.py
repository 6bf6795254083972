from functools import partial

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune.errors import ModelError, ShapeError
from mlprune.models.architecture.architecture import oriented
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.local_chain import load_shard, local_chain
from mlprune.models.masks.block_changes import BlockChanges
from mlprune.models.shard import Shard
from tests.chains import random_masks, run_visitor, text_batch
from tests.scored_texts import one_batch, scored_alone, some_texts
from tests.tiny_models import ARCHITECTURES, FAMILY_NAMES


def test_messages_between_shards_can_be_pickled(folders):
    for name in FAMILY_NAMES:
        shards = local_chain(folders[name], n_shards=2).shards
        straight = run_visitor(shards, ScoringVisitor(one_batch(TEXTS)))
        pickled = run_visitor(shards, ScoringVisitor(one_batch(TEXTS)), pickled=True)
        assert torch.equal(straight.log_probs, pickled.log_probs)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_neither_threads_nor_shards_change_a_bit_of_statistics_and_scores(folders, name, threads):
    batches = [text_batch(rows) for rows in (range(4), range(2), range(1, 4), range(3, 4))]
    texts = [one_batch(TEXTS)] * 3
    results = []
    for n_threads, n_shards in ((1, 1), (2, 1), (2, 2), (1, 3)):
        threads(n_threads)
        chain = local_chain(folders[name], n_shards=n_shards)
        observed = list(chain.stream(StatisticsVisitor, batches))
        tensors = [tensor for batch in observed for tensor in (*batch.sums.values(), batch.magnitudes, batch.n_tokens)]
        results.append([*tensors, *(scores.log_probs for scores in chain.stream(ScoringVisitor, texts))])
    for other in results[1:]:
        assert all(torch.equal(tensor, expected) for tensor, expected in zip(other, results[0], strict=True))


def pruned_model(path, architecture, masks):
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    with torch.no_grad():
        for (block, layer), mask in masks.items():
            weight = model.get_submodule(architecture.blocks)[block].get_submodule(layer).weight
            oriented(weight, architecture.block(block))[~mask] = 0
    return model


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_masked_chain_scores_like_the_pruned_model_and_unmasked_like_the_dense_one(folders, name):
    masks, architecture = random_masks(folders[name]), ARCHITECTURES[name]
    chain = local_chain(folders[name], n_shards=2)
    dense = log_probs(chain)
    chain.everywhere(Shard.set_keep_masks, masks)
    pruned = log_probs(chain)
    chain.everywhere(Shard.set_keep_masks, None)
    assert torch.equal(log_probs(chain), dense)
    assert_scores_of(pruned_model(folders[name], architecture, masks), pruned, rtol=1e-5, atol=1e-5)
    assert (pruned - dense).abs().max() > 1e-2


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_block_is_pruned_by_a_function_of_its_dense_weights(folders, name):
    shard = load_shard(folders[name], range(3), n_blocks=3, dtype="float32")
    dense = {layer: weight.clone() for layer, weight in shard.masks.dense(1).items()}

    def keep_large(weights, _, least):
        assert all(torch.equal(weight, dense[layer]) for layer, weight in weights.items())
        masks = {layer: weight.abs() >= least for layer, weight in weights.items()}
        return masks, {}, sum(int((~mask).sum()) for mask in masks.values())

    few = partial(keep_large, least=0.1)
    assert shard.sweep_prune(1, few) == shard.sweep_prune(1, few)
    n_removed = shard.sweep_prune(1, partial(keep_large, least=0.3))
    module = shard.runner.modules[1]
    n_zero = sum(int((module.get_submodule(layer).weight == 0).sum()) for layer in ARCHITECTURES[name].layers)
    assert n_zero == n_removed > 0
    assert all(torch.equal(weight, dense[layer]) for layer, weight in shard.masks.dense(1).items())


def test_a_wrong_mask_weight_or_layer_of_a_function_is_an_error(folders):
    shard = load_shard(folders["gpt2"], range(3), n_blocks=3, dtype="float32")
    mask, weight = torch.ones(48, 16, dtype=torch.bool), torch.zeros(48, 16)
    for error, masks, weights in (
        (ModelError, {"attn.q": mask}, {}),
        (ModelError, {}, {"attn.q": weight}),
        (ShapeError, {"attn.c_attn": mask.T}, {}),
        (ShapeError, {}, {"attn.c_attn": weight.T}),
    ):
        with pytest.raises(error):
            shard.sweep_prune(0, lambda *_, given=(masks, weights): (*given, None))
        with pytest.raises(error):
            shard.exchange_changes(lambda _, given=(masks, weights): BlockChanges.of(*given), blocks=[0])
        if not weights:
            with pytest.raises(error):
                shard.set_keep_masks({(0, layer): mask for layer, mask in masks.items()})


TEXTS = some_texts(heads=(4,))


def log_probs(chain):
    """Log-probabilities of all scored tokens of the texts."""
    return next(chain.stream(ScoringVisitor, [one_batch(TEXTS)])).log_probs


def assert_scores_of(model, log_probs, **tolerance):
    """Compare the sum of each text with that of the text alone."""
    expected = [value for value, _ in scored_alone(model, TEXTS)]
    sums = torch.stack([text.sum() for text in log_probs.split([len(text.tokens) - text.n_context for text in TEXTS])])
    torch.testing.assert_close(sums, torch.tensor(expected, dtype=torch.float64), **tolerance)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_an_accelerator_gives_the_scores_of_the_cpu(folders, name):
    model = AutoModelForCausalLM.from_pretrained(folders[name], dtype=torch.float32).eval()
    assert_scores_of(model, log_probs(local_chain(folders[name], n_shards=2)), rtol=1e-4, atol=1e-3)
