from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from mlprune.errors import ModelError, ShapeError, StatisticsError
from mlprune.models.chain import advance_to
from mlprune.models.families.checks import oriented
from mlprune.models.families.records import FAMILIES
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import TokenBatch
from mlprune.models.placement import placed_modules
from mlprune.models.shard import Shard
from mlprune.models.shard_loader import load_shard
from tests.chains import run_visitor
from tests.scored_texts import one_batch, scored_alone, some_texts
from tests.tiny_models import FAMILY_NAMES, save_tiny_model

LENGTHS = (7, 4, 1, 5)
ALL_ROWS = range(len(LENGTHS))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: save_tiny_model(tmp_path_factory.mktemp(name), name, seed=3) for name in FAMILY_NAMES}


def random_tokens(*shape, seed=0):
    return torch.randint(3, 259, shape, generator=torch.Generator().manual_seed(seed))


def token_batch(rows=ALL_ROWS, *, pad=0):
    """Texts of several lengths; the first token of a text counts in statistics only if it is the only one."""
    lengths = [LENGTHS[row] for row in rows]
    positions = torch.arange(max(lengths)).unsqueeze(0)
    mask = positions < torch.tensor(lengths).unsqueeze(1)
    tokens = torch.where(mask, random_tokens(len(LENGTHS), max(LENGTHS))[list(rows), : max(lengths)], pad)
    return TokenBatch(tokens, mask, mask & ((positions > 0) | (torch.tensor(lengths).unsqueeze(1) == 1)))


def observe(chain, batch):
    return next(chain.stream(StatisticsVisitor, [batch]))


def reference_observation(path, family, tokens, counted):
    """Sums by (block, layer) and magnitudes of one text alone, from plain hooks on the model in float64."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64).eval()
    inputs, hidden = {}, []
    for block, module in enumerate(model.get_submodule(family.blocks)):
        for layer in family.layers:
            module.get_submodule(layer).register_forward_pre_hook(
                lambda _, args, key=(block, layer): inputs.update({key: args[0][0]})
            )
        module.register_forward_hook(
            lambda _, args, output: hidden.append(output[0][0] if isinstance(output, tuple) else output[0])
        )
        if block == 0:
            module.register_forward_pre_hook(lambda _, args: hidden.append(args[0][0]))
    torch.set_default_dtype(torch.float64)  # XGLM's code creates a constant in the default dtype
    try:
        with torch.inference_mode():
            model(tokens.unsqueeze(0))
    finally:
        torch.set_default_dtype(torch.float32)
    sums = {key: (x[counted] ** 2).sum(0) for key, x in inputs.items()}
    return sums, torch.stack([(h[counted] ** 2).sum(0).sqrt() for h in hidden])


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_statistics_of_a_padded_batch_are_those_of_plain_hooks_on_single_texts(folders, name):
    family, batch = FAMILIES[name], token_batch()
    found = observe(local_chain(folders[name]), batch)
    assert set(found.sums) == {(block, group) for block in range(3) for group in family.input_names}
    assert found.n_tokens.tolist() == batch.counted.sum(1).tolist()
    for row, length in enumerate(LENGTHS):
        tokens, counted = batch.token_ids[row, :length], batch.counted[row, :length]
        sums, magnitudes = reference_observation(folders[name], family, tokens, counted)
        for (block, layer), expected in sums.items():
            observed = found.sums[block, family.input_of(layer)][row]
            assert observed.dtype == torch.float32
            torch.testing.assert_close(observed.double(), expected, rtol=2e-5, atol=1e-6)
        torch.testing.assert_close(found.magnitudes[:, row].double(), magnitudes, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_observation_does_not_depend_on_the_number_of_shards(folders, name):
    found = [observe(local_chain(folders[name], n_shards=n), token_batch()) for n in (1, 2, 3)]
    for other in found[1:]:
        assert list(other.sums) == list(found[0].sums)
        assert all(torch.equal(other.sums[key], found[0].sums[key]) for key in other.sums)
        assert torch.equal(other.magnitudes, found[0].magnitudes)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_padding_tokens_and_batch_size_do_not_change_statistics(folders, name):
    chain = local_chain(folders[name])
    whole = observe(chain, token_batch())
    other_padding = observe(chain, token_batch(pad=200))
    halves = [observe(chain, token_batch(rows)) for rows in (range(2), range(2, 4))]
    for key, sums in whole.sums.items():
        assert torch.equal(other_padding.sums[key], sums)
        torch.testing.assert_close(torch.cat([half.sums[key] for half in halves]), sums, rtol=1e-5, atol=1e-6)


def test_messages_between_shards_can_be_pickled(folders):
    for name in FAMILY_NAMES:
        shards = local_chain(folders[name], n_shards=2).shards
        straight = run_visitor(shards, ScoringVisitor(one_batch(TEXTS)))
        pickled = run_visitor(shards, ScoringVisitor(one_batch(TEXTS)), pickled=True)
        assert torch.equal(straight.log_probs, pickled.log_probs)


def broken_model(folder):
    """A model whose block 1 gives fc2 an infinite input."""
    tensors = load_file(save_tiny_model(folder) / "model.safetensors")
    tensors["model.layers.1.fc1.bias"][5] = torch.inf
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_non_finite_activation_is_an_error_that_names_block_and_input(tmp_path, threads, n_threads):
    threads(n_threads)
    with pytest.raises(StatisticsError, match=r"input='fc2', block=1"):
        list(local_chain(broken_model(tmp_path)).stream(StatisticsVisitor, [token_batch()] * 8))


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_neither_threads_nor_shards_change_a_bit_of_statistics_and_scores(folders, name, threads):
    batches = [token_batch(rows) for rows in (range(4), range(2), range(1, 4), range(3, 4))] * 3
    texts = [one_batch(TEXTS)] * 8
    found = []
    for n_threads, n_shards in ((1, 1), (2, 1), (2, 2)):
        threads(n_threads)
        chain = local_chain(folders[name], n_shards=n_shards)
        observed = list(chain.stream(StatisticsVisitor, batches))
        tensors = [tensor for one in observed for tensor in (*one.sums.values(), one.magnitudes, one.n_tokens)]
        found.append([*tensors, *(scores.log_probs for scores in chain.stream(ScoringVisitor, texts))])
    for other in found[1:]:
        assert all(torch.equal(tensor, expected) for tensor, expected in zip(other, found[0], strict=True))


def test_blocks_the_model_does_not_have_are_an_error(folders):
    for blocks, n_blocks in ((range(2, 4), 3), (range(2), 2), (range(0), 3)):
        with pytest.raises(ModelError, match="other blocks"):
            load_shard(folders["xglm"], blocks, n_blocks=n_blocks, dtype="float32")


# Masks


def random_masks(path, name, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shard = load_shard(path, range(3), n_blocks=3, dtype="float32")
    return {
        (block, layer): torch.rand(weight.shape, generator=generator) > 0.5
        for block in range(3)
        for layer, weight in shard.masks.dense(block).items()
    }


def pruned_model(path, family, masks):
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    with torch.no_grad():
        for (block, layer), mask in masks.items():
            weight = model.get_submodule(family.blocks)[block].get_submodule(layer).weight
            oriented(weight, family)[~mask] = 0
    return model


@pytest.mark.parametrize("name", FAMILY_NAMES)
@pytest.mark.parametrize("n_shards", [1, 2])
def test_a_masked_chain_scores_like_the_pruned_model_and_unmasked_like_the_dense_one(folders, name, n_shards):
    masks, family = random_masks(folders[name], name), FAMILIES[name]
    chain = local_chain(folders[name], n_shards=n_shards)
    dense = log_probs(chain)
    chain.everywhere(Shard.set_keep_masks, masks)
    pruned = log_probs(chain)
    chain.everywhere(Shard.set_keep_masks, None)
    assert torch.equal(log_probs(chain), dense)
    assert_scores_of(pruned_model(folders[name], family, masks), pruned, rtol=1e-5, atol=1e-5)
    assert (pruned - dense).abs().max() > 1e-2


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_block_is_pruned_by_a_function_of_its_dense_weights(folders, name):
    shard = load_shard(folders[name], range(3), n_blocks=3, dtype="float32")
    dense = {layer: weight.clone() for layer, weight in shard.masks.dense(1).items()}

    def keep_large(weights, least):
        assert all(torch.equal(weight, dense[layer]) for layer, weight in weights.items())
        masks = {layer: weight.abs() >= least for layer, weight in weights.items()}
        return masks, sum(int((~mask).sum()) for mask in masks.values())

    few = partial(keep_large, least=0.1)
    assert shard.prune_block(1, few) == shard.prune_block(1, few)
    n_removed = shard.prune_block(1, partial(keep_large, least=0.3))
    module = shard.runner.modules[1]
    n_zero = sum(int((module.get_submodule(layer).weight == 0).sum()) for layer in FAMILIES[name].layers)
    assert n_zero == n_removed > 0
    assert all(torch.equal(weight, dense[layer]) for layer, weight in shard.masks.dense(1).items())


# Sequential sweep


@pytest.mark.parametrize("name", FAMILY_NAMES)
@pytest.mark.parametrize("n_shards", [1, 2, 3])
def test_a_sweep_observes_each_block_after_the_pruned_blocks_before_it(folders, name, n_shards):
    family, batch = FAMILIES[name], token_batch()
    masks = random_masks(folders[name], name, seed=5)
    chain = local_chain(folders[name], n_shards=n_shards)
    chain.on_block(0, Shard.sweep_start, "k", batch)
    swept = {}
    for block in range(3):
        advance_to(chain, block, ["k"])
        found = chain.on_block(block, Shard.sweep_observe, block, ["k"])
        swept |= {(block, group): sums for group, sums in found["k"].items()}
        chosen = {layer: masks[block, layer] for layer in family.layers}
        choose = lambda _, chosen=chosen: (chosen, len(chosen))  # noqa: E731
        assert chain.on_block(block, Shard.prune_block, block, choose) == len(chosen)
        chain.on_block(block, Shard.sweep_advance, block, ["k"])
    whole = local_chain(folders[name])
    for block in range(3):
        whole.everywhere(Shard.set_keep_masks, {key: mask for key, mask in masks.items() if key[0] < block})
        expected = observe(whole, batch)
        for group in family.input_names:
            assert torch.equal(swept[block, group], expected.sums[block, group])


def test_released_and_cleared_states_are_gone(folders):
    shard = load_shard(folders["xglm"], range(3), n_blocks=3, dtype="float32")
    for key in ("a", ("b", 1)):
        shard.sweep_start(key, token_batch())
    shard.sweep_release("a")
    with pytest.raises(KeyError):
        shard.sweep_observe(0, ["a"])
    shard.sweep_clear()
    with pytest.raises(KeyError):
        shard.sweep_advance(0, [("b", 1)])


KEYS = (("a", 0), ("a", 1), ("b", 0))


def sweep_batches():
    return dict(zip(KEYS, (token_batch(range(2)), token_batch(range(2, 4)), token_batch(range(1, 3))), strict=True))


def swept_with_products(path, family, *, n_shards):
    """A sweep that halves large weights: its chain, and all its products and statistics in order."""
    chain, batches, seen = local_chain(path, n_shards=n_shards), sweep_batches(), []

    def halve(weights, products, least):
        seen.append({name: matrix.clone() for name, matrix in products.items()})
        masks = {layer: weight.abs() >= least for layer, weight in weights.items()}
        return masks, {layer: weight / 2 for layer, weight in weights.items()}, sorted(weights)

    for key, batch in batches.items():
        chain.on_block(0, Shard.sweep_start, key, batch)
    for block in range(3):
        advance_to(chain, block, KEYS)
        found = chain.on_block(block, Shard.sweep_observe, block, KEYS, with_products=True)
        assert list(found) == list(KEYS)
        seen += found.values()
        assert chain.on_block(block, Shard.rewrite_block, block, partial(halve, least=0.1)) == sorted(family.layers)
        chain.on_block(block, Shard.sweep_advance, block, KEYS)
    return chain, seen


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_neither_threads_nor_shards_change_a_bit_of_a_sweep(folders, name, threads):
    results = []
    for n_threads, n_shards in ((1, 1), (2, 1), (2, 2), (1, 3)):
        threads(n_threads)
        results.append(swept_with_products(folders[name], FAMILIES[name], n_shards=n_shards)[1])
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            assert list(found) == list(expected) == list(FAMILIES[name].input_names)
            assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_products_are_those_of_a_float64_loop_over_counted_tokens(folders, name, threads):
    threads(2)
    family = FAMILIES[name]
    products = swept_with_products(folders[name], family, n_shards=1)[1][len(KEYS)]
    model = AutoModelForCausalLM.from_pretrained(folders[name], dtype=torch.float32).eval()
    block = model.get_submodule(family.blocks)[0]
    expected, inputs = {}, {}
    for group in family.input_names:
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
    for group in family.input_names:
        assert products[group].dtype == torch.float64
        torch.testing.assert_close(products[group], expected[group], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_rewritten_block_has_the_new_weights_under_its_masks_and_becomes_dense_again(folders, name):
    family = FAMILIES[name]
    chain, _ = swept_with_products(folders[name], family, n_shards=1)
    dense = AutoModelForCausalLM.from_pretrained(folders[name], dtype=torch.float32).get_submodule(family.blocks)
    shard = chain.shards[0]
    for block in range(3):
        for layer in family.layers:
            weight = dense[block].get_submodule(layer).weight
            now = shard.runner.modules[block].get_submodule(layer).weight
            assert torch.equal(now, torch.where(weight.abs() >= 0.1, weight / 2, 0.0))
    given = []
    shard.rewrite_block(1, lambda weights, products: (given.append((weights, products)), ({}, {}, None))[1])
    assert given[0][1] == {}
    assert all(
        torch.equal(weight, oriented(dense[1].get_submodule(key).weight, family)) for key, weight in given[0][0].items()
    )
    chain.everywhere(Shard.set_keep_masks, None)
    for block, layer in ((block, layer) for block in range(3) for layer in family.layers):
        now = shard.runner.modules[block].get_submodule(layer).weight
        assert torch.equal(now, dense[block].get_submodule(layer).weight)


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
            shard.rewrite_block(0, lambda *_, given=(masks, weights): (*given, None))
        if not weights:
            with pytest.raises(error):
                shard.prune_block(0, lambda *_, given=masks: (given, None))
            with pytest.raises(error):
                shard.set_keep_masks({(0, layer): one for layer, one in masks.items()})


def test_clearing_a_sweep_drops_its_products(folders):
    shard = load_shard(folders["xglm"], range(3), n_blocks=3, dtype="float32")
    shard.sweep_start("k", token_batch())
    shard.sweep_observe(0, ["k"], with_products=True)
    shard.sweep_clear()
    assert shard.rewrite_block(0, lambda _, products: ({}, {}, len(products))) == 0


def test_a_non_finite_activation_in_a_sweep_is_an_error_that_names_block_and_input(tmp_path, threads):
    threads(2)
    shard = load_shard(broken_model(tmp_path), range(3), n_blocks=3, dtype="float32")
    for key, batch in sweep_batches().items():
        shard.sweep_start(key, batch)
    shard.sweep_observe(0, KEYS)
    shard.sweep_advance(0, KEYS)
    for with_products in (False, True):
        with pytest.raises(StatisticsError, match=r"input='fc2', block=1"):
            shard.sweep_observe(1, KEYS, with_products=with_products)
    assert shard.prune_block(0, lambda weights: ({}, len(weights))) == 6


# Scoring


TEXTS = some_texts(heads=(4,))


def log_probs(chain):
    """Log-probabilities of all scored tokens of the texts."""
    return next(chain.stream(ScoringVisitor, [one_batch(TEXTS)])).log_probs


def assert_scores_of(model, found, **tolerance):
    """Compare the sum of each text with that of the text alone."""
    expected = [value for value, _ in scored_alone(model, TEXTS)]
    sums = torch.stack([own.sum() for own in found.split([len(text.tokens) - text.n_context for text in TEXTS])])
    torch.testing.assert_close(sums, torch.tensor(expected, dtype=torch.float64), **tolerance)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_shard_whose_inputs_are_moved_to_its_device_computes_the_same(folders, name, monkeypatch):
    masks = random_masks(folders[name], name)
    plain = local_chain(folders[name], n_shards=2)
    placed_names = []

    def on_one_device(modules):
        placed_names.extend(modules)
        return dict.fromkeys(modules, torch.device("cpu", 0))

    monkeypatch.setattr(placed_modules, "device_for", on_one_device)
    placed = local_chain(folders[name], n_shards=2)
    assert {f"{FAMILIES[name].blocks}.{block}" for block in range(3)} <= set(placed_names)
    for chain in (plain, placed):
        chain.everywhere(Shard.set_keep_masks, masks)
    assert torch.equal(log_probs(plain), log_probs(placed))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_an_accelerator_gives_the_scores_of_the_cpu(folders, name):
    model = AutoModelForCausalLM.from_pretrained(folders[name], dtype=torch.float32).eval()
    assert_scores_of(model, log_probs(local_chain(folders[name], n_shards=2)), rtol=1e-4, atol=1e-3)
