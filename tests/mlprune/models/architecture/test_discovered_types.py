"""Architectures of tiny models of many types: what discovery finds, and why it refuses a model."""

import json
import resource
import time

import pytest

from mlprune.errors import ModelError
from mlprune.models.architecture.architecture import Part
from mlprune.models.architecture.lookup import architecture_of
from tests.refusals import refused
from tests.tiny_types import tiny_config_of


def discovered(name, **changes):
    return architecture_of(json.loads(tiny_config_of(name, **changes).to_json_string(use_diff=False)))


def test_a_parallel_block_reads_one_input_for_attention_and_feed_forward():
    kind = discovered("cohere").block(0)
    assert kind.inputs[0] == (
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
    )
    assert kind.feed_forward == Part(("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj")


def test_a_model_with_several_kinds_of_block_has_one_architecture_per_kind():
    architecture = discovered("nemotron_h, no experts")
    assert architecture.kind_of_block == (0, 1, 2)
    state_space, attention, feed_forward = architecture.kinds
    assert state_space.is_recurrent
    assert [parameter.name for parameter in state_space.dense] == ["mixer.conv1d.weight"]
    assert not attention.is_recurrent
    assert attention.attention == Part(("mixer.q_proj", "mixer.k_proj", "mixer.v_proj"), "mixer.o_proj")
    assert feed_forward.feed_forward == Part(("mixer.up_proj",), "mixer.down_proj")


@pytest.mark.thorough("builds a model of every type")
@pytest.mark.parametrize(
    ("name", "tail"),
    [
        ("olmo", ("model.norm",)),
        ("modernbert-decoder", ("model.final_norm", "lm_head")),
        ("openai-gpt", ()),
        ("llama", ("model.norm",)),
    ],
)
def test_the_tail_has_the_outermost_modules_between_blocks_and_head_also_without_weights(name, tail):
    assert discovered(name).tail == tail


@pytest.mark.thorough("builds a model of every type")
@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("llama", "blocked"),
        ("olmo3", "joined"),
        ("bloom", "interleaved"),
        ("diffllama", "unknown"),  # two heads share the weights of attention
        ("qwen3_next, no experts", "unknown"),  # the query projection also has a gate
        ("minicpm3", "unknown"),  # low ranks
        ("falcon", "unknown"),  # one fused projection
    ],
)
def test_the_layout_of_heads_is_known_only_of_three_plain_projections(name, heads):
    kinds = discovered(name).kinds
    assert {kind.heads for kind in kinds if kind.attention is not None} == {heads}


def test_an_activation_may_have_scalar_parameters_and_may_be_shared_by_blocks():
    assert discovered("apertus").block(0).activation == "mlp.act_fn"
    assert {kind.activation for kind in discovered("openai-gpt").kinds} == {"mlp.act"}


@pytest.mark.thorough("builds a model of every type")
def test_the_feed_forward_part_is_the_widest_and_has_no_norm_before_its_last_layer():
    assert discovered("gemma4_text").block(0).feed_forward == Part(("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj")
    assert discovered("bitnet").block(0).feed_forward is None


def test_names_in_checkpoints_follow_from_the_library():
    renamed = dict(discovered("exaone").published_names)
    assert renamed["model.layers.2.mlp.down_proj.weight"] == "transformer.h.2.mlp.c_proj.weight"
    assert discovered("llama").published_names == ()


def test_a_tensor_may_be_stored_in_pieces():
    (way,) = discovered("olmo_hybrid").block(0).ways_of["linear_attn.conv1d.weight"]
    prefix = "model.layers.0.linear_attn."
    assert [part.of_block(0).name for part in way] == [f"{prefix}{part}_conv1d.weight" for part in "qkv"]


@pytest.mark.parametrize("name", ["llama", "bloom", "mamba2", "gemma4_text"])
def test_a_model_keeps_keys_and_values_in_the_cache_of_the_library(name):
    assert discovered(name).has_cache


@pytest.mark.thorough("builds a model of every type")
@pytest.mark.parametrize("name", ["openai-gpt", "rwkv", "xlstm"])
def test_a_model_without_that_cache_is_known(name):
    assert not discovered(name).has_cache


@pytest.mark.thorough("builds a model of every type")
@pytest.mark.parametrize(
    ("name", "changes", "context"),
    [
        (
            "llama4_text",
            {"num_experts_per_tok": 2},
            {"expected": "stacks of the library", "block": 0, "got": "feed_forward.experts"},
        ),
        ("bert-generation", {"is_decoder": False}, {"got": {"is_causal of attention": False}}),
        (
            "gemma3_text",
            {"use_bidirectional_attention": True},
            {"got": {"use_bidirectional_attention": True, "is_causal of attention": False}},
        ),
        ("zamba2", {}, {"expected": "blocks with weights of their own"}),
        ("gemma4_text, shared keys", {}, {"block": 2}),
        ("dory", {}, {"expected": "0 to 2"}),
        ("hrm_text", {}, {"tensor": "model.L_module.layers.0.attn.gqkv_proj.weight"}),
        ("deepseek_v4", {}, {"expected": "[texts, tokens, features]"}),
        ("trocr", {}, {"got": "model.decoder.layers.0.encoder_attn"}),
        ("cpmant", {}, {"model_type": "cpmant"}),
        ("blt", {}, {"reason": "DataDependentOutputException: aten._local_scalar_dense.default"}),
    ],
)
def test_a_model_that_is_no_chain_of_dense_blocks_is_refused(name, changes, context):
    with refused(ModelError, **context):
        discovered(name, **changes)


@pytest.mark.thorough("builds a model of every type")
def test_a_config_of_70_billion_weights_takes_little_time_and_memory():
    discovered("llama")  # loads the libraries
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sizes = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64}
    assert discovered("llama", num_key_value_heads=8, head_dim=128, vocab_size=128256, **sizes).n_blocks == 80
    assert time.process_time() - started < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB
