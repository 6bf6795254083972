"""Sub-layers of tiny models of many types: their layers, what they read, and which ones cannot be removed exactly."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from mlprune.models.architecture.architecture import BlockArchitecture, Part
from mlprune.models.architecture.lookup import architecture_of
from mlprune.models.architecture.sublayers import sublayers_of
from mlprune.models.architecture.trace import HIDDEN, Call
from tests.tiny_types import tiny_config_of


def block_of(name: str, block: int = 0) -> BlockArchitecture:
    config = json.loads(tiny_config_of(name).to_json_string(use_diff=False))
    return architecture_of(config).block(block)


def test_sublayers_of_a_sequential_block_read_each_other_and_those_of_a_parallel_block_do_not() -> None:
    sequential, parallel = block_of("llama"), block_of("cohere")
    for kind, reads_earlier in ((sequential, True), (parallel, False)):
        attention, feed_forward = kind.sublayers
        assert (attention.kind, feed_forward.kind) == ("attention", "feed_forward")
        assert (attention.outputs, feed_forward.outputs) == (("self_attn.o_proj",), ("mlp.down_proj",))
        assert {*attention.layers, *feed_forward.layers} == set(kind.layers)
        assert (attention.reads_earlier, feed_forward.reads_earlier) == (False, reads_earlier)


def test_a_block_of_a_hybrid_has_the_sublayers_that_it_runs() -> None:
    kinds = [[one.kind for one in block_of("nemotron_h, no experts", block).sublayers] for block in range(3)]
    assert kinds == [["attention"], ["attention"], ["feed_forward"]]
    convolution, _ = block_of("lfm2").sublayers
    assert convolution.layers == ("conv.in_proj", "conv.out_proj")


@pytest.mark.thorough("discovers mixtures of experts")
def test_experts_shared_experts_and_their_gate_are_one_sublayer() -> None:
    kind = block_of("qwen2_moe")
    _, feed_forward = kind.sublayers
    assert set(feed_forward.layers) == {layer for layer in kind.layers if layer.startswith("mlp.")}
    assert {"mlp.shared_expert.down_proj", "mlp.experts.0.down_proj"} <= set(feed_forward.outputs)
    assert "mlp.experts.0.gate_up_proj" not in feed_forward.outputs


def test_several_mixers_of_a_block_are_one_sublayer() -> None:
    mixers, _ = block_of("falcon_h1").sublayers
    assert set(mixers.outputs) == {"mamba.out_proj", "self_attn.o_proj"}


def test_what_a_block_adds_besides_sublayers_is_none_and_such_a_block_does_more_than_adding() -> None:
    kind = block_of("gemma4_text")
    of_sublayers = {layer for one in kind.sublayers for layer in one.layers}
    assert set(kind.layers) - of_sublayers == {"per_layer_input_gate", "per_layer_projection"}
    assert not kind.only_adds
    assert block_of("llama").only_adds


@pytest.mark.parametrize(("norm", "is_found"), [(nn.RMSNorm(4), True), (nn.LayerNorm(4), False)])
def test_a_norm_with_a_bias_after_the_outputs_hides_a_sublayer(norm: nn.Module, is_found: bool) -> None:
    """No model type of the library has one."""
    stream, layers = frozenset({(0, HIDDEN)}), ("up", "down")
    hidden = torch.zeros(1)
    calls = [
        Call("block.up", nn.Linear(4, 4), hidden, stream, 1),
        Call("block.down", nn.Linear(4, 4), hidden, frozenset({(0, "up")}), 1),
        Call("block.norm", norm, hidden, frozenset({(0, "down")}), 1),
    ]
    found = sublayers_of(calls, "block.", layers=layers, feed_forward=Part(("up",), "down"), experts=None)
    assert [one.kind for one in found] == (["feed_forward"] if is_found else [])
    assert [
        one.kind
        for one in sublayers_of(
            [*calls[:2], replace_sources(calls[2])], "block.", layers=layers, feed_forward=None, experts=None
        )
    ] == ["feed_forward"]


def replace_sources(call: Call) -> Call:
    """The same norm on the hidden states, as before another sub-layer."""
    return replace(call, sources=call.sources | {(0, HIDDEN)})
