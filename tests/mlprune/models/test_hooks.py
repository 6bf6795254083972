import pickle

import pytest
import torch
from transformers import Cache, DynamicCache

from mlprune.errors import ModelError, StatisticsError
from mlprune.models.families import FAMILIES
from mlprune.models.hooks import CacheSlot, calls_on, capture_calls, hidden_of, input_observer, prepare
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
    with pytest.raises(ModelError, match=r"families\.py does not say"):
        hidden_of(output, family)


def test_inputs_are_observed_once_a_group_and_no_hook_stays_behind():
    model, family = tiny_model("xglm", seed=1, blocks=1), FAMILIES["xglm"]
    block = model.model.layers[0]
    seen = {}
    block.fc2.register_forward_pre_hook(lambda _, args: seen.update(fc2=args[0]))
    counted = torch.tensor([[True, True, False], [False, True, False]])
    with torch.inference_mode(), input_observer(block, family, counted) as sums:
        block(torch.randn(2, 3, 16))
    assert tuple(sums) == family.input_names
    loops = torch.stack([sum(seen["fc2"][row, t] ** 2 for t in range(3) if counted[row, t]) for row in range(2)])
    torch.testing.assert_close(sums["fc2"], loops)
    assert not block.fc1._forward_pre_hooks


def test_a_counted_activation_that_is_not_finite_is_an_error_that_names_the_input():
    model, family = tiny_model("xglm", seed=1, blocks=1), FAMILIES["xglm"]
    block = model.model.layers[0]
    hidden = torch.randn(1, 2, 16)
    hidden[0, 1, 3] = torch.nan
    counted = torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(StatisticsError, match=r"input='self_attn\.q_proj'"), input_observer(block, family, counted):
        block(hidden)
    assert not block.self_attn.q_proj._forward_pre_hooks
