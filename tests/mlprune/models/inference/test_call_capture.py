import pickle

import pytest
import torch
from transformers import Cache, DynamicCache

from mlprune.errors import ModelError
from mlprune.models.families.records import FAMILIES
from mlprune.models.inference.block_calls import CacheSlot
from mlprune.models.inference.call_capture import capture_calls, hidden_of, prepare
from tests.tiny_models import FAMILY_NAMES, tiny_model

TOKENS = torch.tensor([[1, 50, 60, 70], [1, 9, 8, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_replayed_calls_give_the_logits_of_the_model(name):
    model, family = tiny_model(name, seed=1, blocks=3), FAMILIES[name]
    with torch.inference_mode():
        expected = model(TOKENS, attention_mask=MASK, use_cache=False).logits
        capture = prepare(model, family, input_ids=TOKENS, attention_mask=MASK, use_cache=False)
        hidden = capture.hidden
        for block, call in zip(model.get_submodule(family.blocks), capture.calls, strict=True):
            filled = call.with_cache(None)
            hidden = hidden_of(block(hidden, *filled.args, **filled.kwargs), family)
        logits = model.lm_head(model.get_submodule(family.final_norm)(hidden))
    assert torch.equal(logits, expected)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_captured_calls_have_a_slot_for_the_cache_and_can_be_pickled(name):
    model, family = tiny_model(name, seed=1, blocks=2), FAMILIES[name]
    with torch.inference_mode():
        inputs = {"input_ids": TOKENS, "attention_mask": MASK, "use_cache": True}
        calls = prepare(model, family, **inputs, cache=DynamicCache(config=model.config)).calls
    call = pickle.loads(pickle.dumps(calls))[1]
    values = [*call.args, *call.kwargs.values()]
    assert values.count(CacheSlot()) == 1
    assert not any(isinstance(value, Cache) for value in values)
    cache = DynamicCache(config=model.config)
    filled = call.with_cache(cache)
    assert sum(value is cache for value in [*filled.args, *filled.kwargs.values()]) == 1


def test_the_blocks_are_restored_even_if_the_forward_fails():
    model, family = tiny_model("gpt2", seed=1, blocks=2), FAMILIES["gpt2"]
    before = [model.transformer.h, model.transformer.ln_f]
    with capture_calls(model, family):
        assert model.transformer.h is not before[0]
    with pytest.raises(IndexError):
        prepare(model, family, input_ids=TOKENS + 1000)
    assert model.transformer.h is before[0]
    assert model.transformer.ln_f is before[1]


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_block_that_returns_another_type_than_its_record_says_is_an_error(name):
    family = FAMILIES[name]
    hidden = torch.zeros(1, 1, 1)
    output = hidden if family.block_returns_tuple else (hidden,)
    with pytest.raises(ModelError, match=r"does not return the type that its record in .*records\.py declares"):
        hidden_of(output, family)
