"""Key-value caches of a shard."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, Cache, DynamicCache

from mlprune.evaluation.scoring.batches import ScoredText
from mlprune.models.inference import block_runner
from mlprune.models.inference.block_runner import KeyValueCaches, capture_calls, hidden_of, prepare
from mlprune.models.inference.observation import observe_inputs, run_observed
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.local_chain import load_shard
from mlprune.models.messages import CacheSlot
from mlprune.numeric.activations.statistics import CountedTokens
from tests.chains import run_visitor
from tests.pretended_gpus import pretended_gpus
from tests.scored_texts import one_batch
from tests.tiny_models import ARCHITECTURES, FAMILY_NAMES, save_tiny_model, tiny_model

TOKENS = torch.tensor([[1, 50, 60, 70], [1, 9, 8, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_replayed_calls_give_the_logits_of_the_model(name):
    model, architecture = tiny_model(name, seed=1, blocks=3), ARCHITECTURES[name]
    with torch.inference_mode():
        expected = model(TOKENS, attention_mask=MASK, use_cache=False).logits
        capture = prepare(model, architecture, input_ids=TOKENS, attention_mask=MASK, use_cache=False)
        hidden = capture.hidden
        for block, call in zip(model.get_submodule(architecture.blocks), capture.calls, strict=True):
            filled = call.with_cache(None)
            hidden = hidden_of(block(hidden, *filled.args, **filled.kwargs))
        (norm,) = architecture.tail
        logits = model.lm_head(model.get_submodule(norm)(hidden))
    assert torch.equal(logits, expected)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_captured_calls_have_a_slot_for_the_cache_and_can_be_pickled(name):
    model, architecture = tiny_model(name, seed=1, blocks=2), ARCHITECTURES[name]
    with torch.inference_mode():
        inputs = {"input_ids": TOKENS, "attention_mask": MASK, "use_cache": True}
        calls = prepare(model, architecture, **inputs, cache=DynamicCache(config=model.config)).calls
    call = pickle.loads(pickle.dumps(calls))[1]
    values = [*call.args, *call.kwargs.values()]
    assert values.count(CacheSlot()) == 1
    assert not any(isinstance(value, Cache) for value in values)
    cache = DynamicCache(config=model.config)
    filled = call.with_cache(cache)
    assert sum(value is cache for value in [*filled.args, *filled.kwargs.values()]) == 1


def test_the_blocks_are_restored_even_if_the_forward_fails():
    model, architecture = tiny_model("gpt2", seed=1, blocks=2), ARCHITECTURES["gpt2"]
    before = [model.transformer.h, model.transformer.ln_f]
    with capture_calls(model, architecture):
        assert model.transformer.h is not before[0]
    with pytest.raises(IndexError):
        prepare(model, architecture, input_ids=TOKENS + 1000)
    assert model.transformer.h is before[0]
    assert model.transformer.ln_f is before[1]


BLOCKS = 3


@pytest.fixture
def config(folders):
    return AutoConfig.from_pretrained(folders["llama"])


def caches_of(config, blocks=range(BLOCKS)):
    return KeyValueCaches(config, blocks, n_blocks=BLOCKS, device=torch.device("cpu"))


def lengths_of(cache):
    return [cache.get_seq_length(block) for block in range(BLOCKS)]


def filled(caches, n_tokens):
    """A cache of one row whose keys are 0, 1, 2, ..."""
    cache = caches.new()
    keys = torch.arange(n_tokens, dtype=torch.float32).reshape(1, 1, n_tokens, 1)
    for block in range(BLOCKS):
        cache.update(keys, keys + 100, block)
    return cache


def test_new_caches_are_empty_and_independent(config):
    caches = caches_of(config)
    first, second = caches.new(), caches.new()
    first.update(torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, 4, 8), 0)
    assert (lengths_of(first)[0], lengths_of(second)) == (4, [0, 0, 0])


def test_a_cache_for_one_block_is_filled_in_that_block_alone(config):
    caches = caches_of(config)
    cache = caches.for_block(1)
    cache.update(torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, 4, 8), 1)
    assert (lengths_of(cache), lengths_of(caches.for_block(1))) == ([0, 4, 0], [0, 0, 0])
    assert lengths_of(caches.new()) == [0, 0, 0]


def test_a_shifted_cache_has_the_tokens_of_each_row_after_its_padding(config):
    caches = caches_of(config)
    shifted = caches.shifted(filled(caches, 4), torch.tensor([0, 2]))
    for block in range(BLOCKS):
        keys, values = shifted.layers[block].keys, shifted.layers[block].values
        assert keys.shape == (2, 1, 4, 1)
        assert keys[0].flatten().tolist() == [0, 1, 2, 3]
        assert keys[1].flatten()[2:].tolist() == [0, 1]
        assert torch.equal(values, keys + 100)


def test_some_rows_of_one_block_are_copied_and_the_cache_stays_as_it_is(config):
    caches = caches_of(config)
    cache = caches.shifted(filled(caches, 4), torch.tensor([0, 2]))
    copied = caches.with_rows(cache, torch.tensor([1, 0, 1]), block=1)
    assert lengths_of(copied) == [0, 4, 0]
    assert copied.layers[1].values[:, 0, :, 0].tolist() == [
        [100, 100, 100, 101],
        [100, 101, 102, 103],
        [100, 100, 100, 101],
    ]
    copied.update(torch.zeros(3, 1, 1, 1), torch.zeros(3, 1, 1, 1), 1)
    assert lengths_of(cache) == [4, 4, 4]
    assert len(cache.layers[1].keys) == 2


def test_a_cache_is_shifted_with_one_copy_of_the_positions_to_the_device(config):
    with pretended_gpus() as ledger:
        caches = KeyValueCaches(config, range(BLOCKS), n_blocks=BLOCKS, device=torch.device("cuda:0"))
        cache = caches.new()
        keys = torch.arange(4.0, device="cuda:0").reshape(1, 1, 4, 1)
        for block in range(BLOCKS):
            cache.update(keys, keys, block)
        ledger.clear()
        shifted = caches.shifted(cache, torch.tensor([0, 2]))
        assert (ledger.uploads, ledger.blocking_uploads, ledger.waits) == (1, 0, 0)
        assert shifted.layers[2].keys[:, 0, :, 0].tolist() == [[0, 1, 2, 3], [0, 0, 0, 1]]


def test_a_cache_of_a_length_contains_one_number_per_token(config):
    cache = caches_of(config).of_length(2, 5)
    assert lengths_of(cache) == [5, 5, 5]
    assert all(layer.keys.numel() == 10 for layer in cache.layers)


def test_only_layers_of_other_shards_are_padded(config):
    caches = caches_of(config, range(1))
    cache = caches.new()
    caches.pad_remote_lengths(cache, 2, 3)
    caches.pad_remote_lengths(cache, 2, 1)
    assert lengths_of(cache) == [0, 4, 4]


def test_a_session_keeps_its_cache_until_it_ends(config):
    caches = caches_of(config)
    assert caches.session("a") is caches.session("a")
    assert caches.session("a") is not caches.session("b")
    caches.end("a")
    caches.end("never begun")
    assert caches.open_sessions == ("b",)


def test_a_session_continues_a_prefix(config):
    caches = caches_of(config)
    caches.begin_prefix("prefix")
    keys = torch.arange(3, dtype=torch.float32).reshape(1, 1, 3, 1)
    caches.session("prefix").update(keys, keys, 0)
    caches.continue_prefix("prefix", "rows", torch.tensor([1, 0]))
    assert caches.session("rows").layers[0].keys[:, 0, :, 0].tolist() == [[0, 0, 1], [0, 1, 2]]
    assert lengths_of(caches.session("rows"))[1:] == [0, 0]


COUNTED = MASK.bool()


def runner_of(path, dtype="float32"):
    return load_shard(path, range(3), n_blocks=3, dtype=dtype).runner


def run(runner, states):
    for block in runner.blocks:
        states = runner.step(block, states)
    return states


@pytest.mark.parametrize("name", FAMILY_NAMES)
@torch.inference_mode()
def test_observing_the_inputs_of_a_block_gives_the_sums_of_running_it(folders, name):
    runner = runner_of(folders[name])
    states = runner.embed(TOKENS, COUNTED)
    for block in range(3):
        after, sums = run_observed(runner, block, states, counted=CountedTokens(COUNTED))
        only, tokens = observe_inputs(runner, block, states, counted=CountedTokens(COUNTED), keeps_tokens=True)
        assert list(only) == list(sums) == list(tokens) == list(ARCHITECTURES[name].input_names)
        assert all(torch.equal(only[key], sums[key]) for key in sums)
        for key, rows in tokens.items():
            loops = torch.stack([row.double().square().sum(0) for row in rows])
            torch.testing.assert_close(sums[key].double(), loops, rtol=1e-6, atol=1e-9)
        assert observe_inputs(runner, block, states, counted=CountedTokens(COUNTED))[1] == {}
        states = after


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_thread_can_run_blocks_norm_and_head_while_another_embeds(folders, name, monkeypatch):
    runner = runner_of(folders[name])

    @torch.inference_mode()
    def logits():
        states = run(runner, runner.embed(TOKENS, COUNTED))
        return runner.head(runner.apply_final_norm(states.hidden))

    expected, is_in, may_go_on, prepare = logits(), Event(), Event(), block_runner.prepare
    with torch.inference_mode():
        states = runner.embed(TOKENS, COUNTED)

    def slow(model, architecture, **inputs):
        with capture_calls(model, architecture):
            is_in.set()
            assert may_go_on.wait(300)
        return prepare(model, architecture, **inputs)

    monkeypatch.setattr(block_runner, "prepare", slow)
    with ThreadPoolExecutor(2) as pool:
        embedding = [pool.submit(logits) for _ in range(2)]
        assert is_in.wait(300)
        with torch.inference_mode():
            meanwhile = runner.head(runner.apply_final_norm(run(runner, states).hidden))
        may_go_on.set()
        assert all(torch.equal(future.result(), expected) for future in embedding)
    assert torch.equal(meanwhile, expected)


SCALED = {
    "gemma2": {"final_logit_softcapping": 2.0},
    "granite": {"logits_scaling": 4.0},
    "cohere": {"logit_scale": 0.25},
}
"""Model type -> what its code does to the outputs of the head."""


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", SCALED)
def test_scaled_and_capped_logits_are_scored_as_the_model_computes_them(tmp_path, name):
    path = save_tiny_model(tmp_path, name, **SCALED[name])
    shard = load_shard(path, range(3), n_blocks=3, dtype="float32")
    batch = one_batch([ScoredText(tuple(TOKENS[0].tolist()), 1)])
    log_probs = run_visitor([shard], ScoringVisitor(batch)).log_probs
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = model(TOKENS[:1]).logits[0]
        hidden = run(shard.runner, shard.runner.embed(TOKENS[:1], COUNTED[:1])).hidden
        outputs = shard.runner.head(shard.runner.apply_final_norm(hidden))[0]
    torch.testing.assert_close(shard.runner.logits_of(outputs), logits)
    assert not torch.allclose(outputs, logits)
    expected = logits.log_softmax(-1)[torch.arange(3), TOKENS[0, 1:]]
    torch.testing.assert_close(log_probs.float(), expected, rtol=1e-5, atol=1e-5)


def test_a_scale_in_a_config_that_the_code_of_the_model_does_not_read_has_no_effect(tmp_path):
    architecture = runner_of(save_tiny_model(tmp_path, logit_scale=0.25, logits_scaling=4.0)).architecture
    assert (architecture.logit_scale, architecture.softcap) == (1.0, None)


@torch.inference_mode()
def test_a_mask_is_copied_once_per_device_and_not_once_per_block(tmp_path):
    path = save_tiny_model(tmp_path, blocks=4)
    with pretended_gpus(2, free_bytes=(60_000, 10**9)) as ledger:
        runner = load_shard(path, range(4), n_blocks=4, dtype="float32").runner
        devices = [str(next(module.parameters()).device) for module in runner.modules.values()]
        assert devices.count("cuda:0") >= 1
        assert devices.count("cuda:1") >= 2
        hidden_bytes = runner.embed(TOKENS, COUNTED).hidden.numel() * 4
        ledger.clear()
        run(runner, runner.embed(TOKENS, COUNTED))
        assert ledger.bytes_between_devices == hidden_bytes + 4 * COUNTED.shape[0] * COUNTED.shape[1] ** 2
