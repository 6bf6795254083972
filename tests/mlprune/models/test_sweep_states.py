"""Sequential sweeps: statistics, products and rewritten blocks."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune.errors import StatisticsError
from mlprune.models.architecture.architecture import oriented
from mlprune.models.chain import advance_to
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.local_chain import load_shard, local_chain
from mlprune.models.messages import SweepObservation
from mlprune.models.shard import Shard
from tests.chains import random_masks, text_batch
from tests.pretended_gpus import pretended_gpus
from tests.refusals import refused
from tests.tiny_models import ARCHITECTURES, FAMILY_NAMES


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", FAMILY_NAMES)
@pytest.mark.parametrize("n_shards", [1, 3])
def test_a_sweep_observes_each_block_after_the_pruned_blocks_before_it(folders, name, n_shards):
    architecture, batch = ARCHITECTURES[name], text_batch()
    masks = random_masks(folders[name], seed=5)
    chain = local_chain(folders[name], n_shards=n_shards)
    chain.on_block(0, Shard.sweep_start, "k", batch)
    swept = {}
    for block in range(3):
        advance_to(chain, block, ["k"])
        assert chain.on_block(block, Shard.sweep_observe, block, ["k"]) is None

        def choose(_weights, observation, block=block):
            swept.update({(block, group): sums for group, sums in observation.sums["k"].items()})
            return {layer: masks[block, layer] for layer in architecture.layers}, {}, block

        assert chain.on_block(block, Shard.sweep_prune, block, choose) == block
        chain.on_block(block, Shard.sweep_advance, block, ["k"])
    whole = local_chain(folders[name])
    for block in range(3):
        whole.everywhere(Shard.set_keep_masks, {key: mask for key, mask in masks.items() if key[0] < block})
        (expected,) = whole.stream(StatisticsVisitor, [batch])
        for group in architecture.input_names:
            assert torch.equal(swept[block, group], expected.sums[block, group])


def test_released_and_cleared_states_are_gone(folders):
    shard = load_shard(folders["xglm"], range(3), n_blocks=3, dtype="float32")
    for key in ("a", ("b", 1)):
        shard.sweep_start(key, text_batch())
    shard.sweep_release("a")
    with pytest.raises(KeyError):
        shard.sweep_observe(0, ["a"])
    shard.sweep_clear()
    with pytest.raises(KeyError):
        shard.sweep_advance(0, [("b", 1)])


KEYS = (("a", 0), ("a", 1), ("b", 0))


def sweep_batches():
    return dict(zip(KEYS, (text_batch(range(2)), text_batch(range(2, 4)), text_batch(range(1, 3))), strict=True))


def swept_with_products(path, architecture, *, n_shards):
    """A sweep that halves large weights: its chain, and all its products and statistics in order."""
    chain, batches, seen = local_chain(path, n_shards=n_shards), sweep_batches(), []

    def halve(weights, observation, least):
        assert list(observation.sums) == list(KEYS)
        seen.extend(observation.sums.values())
        seen.append({name: matrix.clone() for name, matrix in observation.products.items()})
        masks = {layer: weight.abs() >= least for layer, weight in weights.items()}
        return masks, {layer: weight / 2 for layer, weight in weights.items()}, sorted(weights)

    for key, batch in batches.items():
        chain.on_block(0, Shard.sweep_start, key, batch)
    for block in range(3):
        advance_to(chain, block, KEYS)
        chain.on_block(block, Shard.sweep_observe, block, KEYS, with_products=True)
        assert chain.on_block(block, Shard.sweep_prune, block, partial(halve, least=0.1)) == sorted(architecture.layers)
        chain.on_block(block, Shard.sweep_advance, block, KEYS)
    return chain, seen


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_neither_threads_nor_shards_change_a_bit_of_a_sweep(folders, name, threads):
    results = []
    for n_threads, n_shards in ((1, 1), (2, 1), (2, 2), (1, 3)):
        threads(n_threads)
        results.append(swept_with_products(folders[name], ARCHITECTURES[name], n_shards=n_shards)[1])
    for other in results[1:]:
        for tensors, expected in zip(other, results[0], strict=True):
            assert list(tensors) == list(expected) == list(ARCHITECTURES[name].input_names)
            assert all(torch.equal(tensors[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_products_are_those_of_a_float64_loop_over_counted_tokens(folders, name, threads):
    threads(2)
    architecture = ARCHITECTURES[name]
    products = swept_with_products(folders[name], architecture, n_shards=1)[1][len(KEYS)]
    model = AutoModelForCausalLM.from_pretrained(folders[name], dtype=torch.float32).eval()
    block = model.get_submodule(architecture.blocks)[0]
    expected, inputs = {}, {}
    for group in architecture.input_names:
        block.get_submodule(group).register_forward_pre_hook(
            lambda _, args, group=group: inputs.update({group: args[0].reshape(-1, args[0].shape[-1])})
        )
    for batch in sweep_batches().values():
        for tokens, real, counted in zip(batch.token_ids, batch.attention_mask, batch.counted, strict=True):
            with torch.inference_mode():
                model(tokens[real].unsqueeze(0))
            for group, rows in inputs.items():
                for row in rows[counted[real]].double():
                    expected[group] = expected.get(group, 0) + torch.outer(row, row)
    for group in architecture.input_names:
        assert products[group].dtype == torch.float64
        torch.testing.assert_close(products[group], expected[group], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_rewritten_block_has_the_new_weights_under_its_masks_and_becomes_dense_again(folders, name):
    architecture = ARCHITECTURES[name]
    chain, _ = swept_with_products(folders[name], architecture, n_shards=1)
    dense = AutoModelForCausalLM.from_pretrained(folders[name], dtype=torch.float32).get_submodule(architecture.blocks)
    shard = chain.shards[0]
    for block in range(3):
        for layer in architecture.layers:
            weight = dense[block].get_submodule(layer).weight
            now = shard.runner.modules[block].get_submodule(layer).weight
            assert torch.equal(now, torch.where(weight.abs() >= 0.1, weight / 2, 0.0))
    given = []
    shard.sweep_prune(1, lambda weights, observation: (given.append((weights, observation)), ({}, {}, None))[1])
    assert given[0][1] == SweepObservation({}, {})
    assert all(
        torch.equal(weight, oriented(dense[1].get_submodule(key).weight, architecture.block(1)))
        for key, weight in given[0][0].items()
    )
    chain.everywhere(Shard.set_keep_masks, None)
    for block, layer in ((block, layer) for block in range(3) for layer in architecture.layers):
        now = shard.runner.modules[block].get_submodule(layer).weight
        assert torch.equal(now, dense[block].get_submodule(layer).weight)


def test_clearing_a_sweep_drops_its_observation(folders):
    shard = load_shard(folders["xglm"], range(3), n_blocks=3, dtype="float32")
    shard.sweep_start("k", text_batch())
    shard.sweep_observe(0, ["k"], with_products=True)
    shard.sweep_clear()
    assert shard.sweep_prune(0, lambda _, observation: ({}, {}, observation)) == SweepObservation({}, {})


def test_a_non_finite_activation_in_a_sweep_is_an_error_that_names_block_and_input(broken_folder, threads):
    threads(2)
    for place in (nullcontext, pretended_gpus):
        with place():
            shard = load_shard(broken_folder, range(3), n_blocks=3, dtype="float32")
            for key, batch in sweep_batches().items():
                shard.sweep_start(key, batch)
            shard.sweep_observe(0, KEYS)
            shard.sweep_advance(0, KEYS)
            for with_products in (False, True):
                with refused(StatisticsError, block=1, feature=5):
                    shard.sweep_observe(1, KEYS, with_products=with_products)
    assert shard.sweep_prune(0, lambda weights, _: ({}, {}, len(weights))) == 6


@pytest.mark.parametrize("with_products", [False, True])
def test_an_accelerator_observes_all_batches_of_a_block_with_one_wait_to_the_bits_of_the_cpu(folders, with_products):
    def swept():
        shard = load_shard(folders["xglm"], range(3), n_blocks=3, dtype="float32")
        for key, batch in sweep_batches().items():
            shard.sweep_start(key, batch)
        return shard

    def observed(shard):
        return shard.sweep_prune(0, lambda _, observation: ({}, {}, observation))

    on_cpu = swept()
    on_cpu.sweep_observe(0, KEYS, with_products=with_products)
    expected = observed(on_cpu)
    with pretended_gpus() as ledger:
        shard = swept()
        ledger.clear()
        shard.sweep_observe(0, KEYS, with_products=with_products)
        assert ledger.waits == 1
        observation = observed(shard)
        assert {name: matrix.device.type for name, matrix in observation.products.items()} == dict.fromkeys(
            expected.products, "cuda"
        )
        assert all(torch.equal(matrix.cpu(), expected.products[name]) for name, matrix in observation.products.items())
    assert list(observation.sums) == list(KEYS)
    for key, sums in observation.sums.items():
        assert list(sums) == list(expected.sums[key])
        assert all(torch.equal(rows, expected.sums[key][name]) for name, rows in sums.items())
