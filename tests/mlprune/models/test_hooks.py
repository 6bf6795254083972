import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import Cache, DynamicCache

from mlprune.errors import ModelError, StatisticsError
from mlprune.models.families.records import FAMILIES
from mlprune.models.hooks import CacheSlot, InputSums, Taps, calls_on, capture_calls, hidden_of, prepare
from tests.tiny_models import FAMILY_NAMES, tiny_model

TOKENS = torch.tensor([[1, 50, 60, 70], [1, 9, 8, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_replayed_calls_give_what_the_model_gives(name):
    model, family = tiny_model(name, seed=1, blocks=3), FAMILIES[name]
    with torch.inference_mode():
        expected = model(TOKENS, attention_mask=MASK, use_cache=False).logits
        capture = prepare(model, family, input_ids=TOKENS, attention_mask=MASK, use_cache=False)
        hidden = capture.hidden
        for block, call in zip(model.get_submodule(family.blocks), capture.calls, strict=True):
            args, kwargs = call.with_cache(None)
            hidden = hidden_of(block(hidden, *args, **kwargs), family)
        logits = model.lm_head(model.get_submodule(family.final_norm)(hidden))
    assert torch.equal(logits, expected)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_cache_is_a_slot_in_the_recorded_call_and_calls_can_be_pickled(name):
    model, family = tiny_model(name, seed=1, blocks=2), FAMILIES[name]
    with torch.inference_mode():
        inputs = {"input_ids": TOKENS, "attention_mask": MASK, "use_cache": True}
        calls = prepare(model, family, **inputs, cache=DynamicCache(config=model.config)).calls
    call = pickle.loads(pickle.dumps(calls))[1]
    values = [*call.args, *call.kwargs.values()]
    assert values.count(CacheSlot()) == 1
    assert not any(isinstance(value, Cache) for value in values)
    own = DynamicCache(config=model.config)
    args, kwargs = call.with_cache(own)
    assert sum(value is own for value in [*args, *kwargs.values()]) == 1


def test_the_blocks_come_back_even_when_the_forward_fails():
    model, family = tiny_model("gpt2", seed=1, blocks=2), FAMILIES["gpt2"]
    before = [model.transformer.h, model.transformer.ln_f]
    with capture_calls(model, family):
        assert model.transformer.h is not before[0]
    with pytest.raises(IndexError):
        prepare(model, family, input_ids=TOKENS + 1000)
    assert model.transformer.h is before[0]
    assert model.transformer.ln_f is before[1]


def test_tensors_that_calls_share_stay_shared_when_moved():
    model, family = tiny_model("xglm", seed=1, blocks=2), FAMILIES["xglm"]
    with torch.inference_mode():
        capture = prepare(model, family, input_ids=TOKENS, attention_mask=MASK, use_cache=False)
    moved = calls_on(dict(enumerate(capture.calls)), torch.device("meta"))
    assert moved[0].args[0].device.type == "meta"
    assert moved[0].args[0] is moved[1].args[0]


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_block_that_returns_the_other_form_is_an_error(name):
    family = FAMILIES[name]
    hidden = torch.zeros(1, 1, 1)
    output = hidden if family.block_returns_tuple else (hidden,)
    with pytest.raises(ModelError, match=r"families/records\.py does not say"):
        hidden_of(output, family)


def observed_block(**options):
    """A block, its taps, and a listener for one run of two rows of three tokens."""
    model, family = tiny_model("xglm", seed=1, blocks=1), FAMILIES["xglm"]
    block = model.model.layers[0]
    counted = torch.tensor([[True, True, False], [False, True, False]])
    return block, Taps([block], family), InputSums(family, counted, **options)


@torch.inference_mode()
def test_inputs_are_observed_once_a_group():
    block, taps, listener = observed_block(keeps_tokens=True)
    seen = {}
    block.fc2.register_forward_pre_hook(lambda _, args: seen.update(fc2=args[0]))
    with taps.listening(listener):
        block(torch.randn(2, 3, 16))
    sums = listener.sums()
    assert tuple(sums) == FAMILIES["xglm"].input_names
    loops = torch.stack(
        [sum(seen["fc2"][row, t] ** 2 for t in range(3) if listener._counted[row, t]) for row in (0, 1)]
    )
    torch.testing.assert_close(sums["fc2"], loops)
    assert [rows.tolist() for rows in listener.tokens["fc2"]] == [
        seen["fc2"][0, :2].tolist(),
        seen["fc2"][1:, 1].tolist(),
    ]


@torch.inference_mode()
def test_a_block_that_is_stopped_gives_the_same_sums_and_skips_its_last_product():
    hidden = torch.randn(2, 3, 16)
    block, taps, whole = observed_block()
    with taps.listening(whole):
        block(hidden)
    block, taps, stopped = observed_block(stops=True)
    products = []
    for name, module in block.named_modules():
        module.register_forward_hook(lambda *_, name=name: products.append(name))
    with taps.listening(stopped):
        block(hidden)
        raise AssertionError("the block was run to its end")
    assert "activation_fn" in products
    assert not {"fc2", ""} & set(products)
    assert all(torch.equal(sums, stopped.sums()[name]) for name, sums in whole.sums().items())


@torch.inference_mode()
def test_nobody_listens_behind_the_context_even_after_an_error():
    block, taps, listener = observed_block(stops=True)
    with pytest.raises(KeyError), taps.listening(listener):
        raise KeyError
    block(torch.randn(2, 3, 16))
    assert not listener._sums


@torch.inference_mode()
def test_only_the_thread_that_listens_hears():
    block, taps, listener = observed_block()
    run = torch.inference_mode()(block)
    with taps.listening(listener), ThreadPoolExecutor(1) as other:
        other.submit(run, torch.randn(2, 3, 16)).result()
    assert not listener._sums


@torch.inference_mode()
def test_a_counted_activation_that_is_not_finite_is_an_error_that_names_the_input():
    block, taps, listener = observed_block()
    hidden = torch.randn(2, 3, 16)
    hidden[0, 1, 3] = torch.nan
    with pytest.raises(StatisticsError, match=r"input='self_attn\.q_proj'"), taps.listening(listener):
        block(hidden)


@torch.inference_mode()
def test_a_layer_that_a_block_does_not_run_is_an_error():
    model, family = tiny_model("xglm", seed=1, blocks=1), FAMILIES["xglm"]
    block = model.model.layers[0]
    block.spare = torch.nn.Linear(16, 16)
    wrong = dataclasses.replace(family, inputs=(*family.inputs, ("spare",)))
    listener = InputSums(wrong, torch.ones(1, 2, dtype=torch.bool), stops=True)
    with Taps([block], wrong).listening(listener):
        block(torch.randn(1, 2, 16))
    with pytest.raises(ModelError, match=r"did not run layers.*missing=\['spare'\]"):
        listener.sums()
