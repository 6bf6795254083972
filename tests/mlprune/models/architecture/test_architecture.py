"""Derived properties of an architecture, and views of stored weights."""

import dataclasses

import pytest
import torch

from mlprune.errors import ModelError
from mlprune.models.architecture.architecture import oriented
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, ARCHITECTURES, MOST_BLOCKS, tiny_model


@pytest.mark.thorough("builds a model of every type")
@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_an_oriented_weight_maps_inputs_to_outputs(name: str) -> None:
    architecture = ARCHITECTURES[name]
    block = tiny_model(name, seed=0, blocks=1).get_submodule(architecture.blocks)[0]
    for path in architecture.block(0).layers:
        layer = block.get_submodule(path)
        view = oriented(layer.weight, architecture.block(0))
        inputs = torch.randn(5, view.shape[1])
        bias = 0 if layer.bias is None else layer.bias
        torch.testing.assert_close(layer(inputs), inputs @ view.T + bias)
        assert view.data_ptr() == layer.weight.data_ptr()


def test_layers_with_the_same_input_share_the_name_of_the_first() -> None:
    (block,) = ARCHITECTURES["xglm"].kinds
    assert block.input_of("self_attn.v_proj") == "self_attn.q_proj"
    assert block.input_of("fc2") == "fc2"
    assert block.input_names == ("self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2")
    assert len(block.layers) == 6
    with refused(ModelError, got="fc3", expected=block.layers):
        block.input_of("fc3")


def test_the_prefix_that_checkpoints_omit_is_the_outermost_module_around_the_blocks() -> None:
    assert (ARCHITECTURES["opt"].base, ARCHITECTURES["opt"].prefix) == ("model.decoder", "model")
    assert ARCHITECTURES["gpt2"].base == ARCHITECTURES["gpt2"].prefix == "transformer"


def test_layers_of_several_kinds_of_block_are_listed_once() -> None:
    architecture = ARCHITECTURES["llama"]
    (block,) = architecture.kinds
    other = dataclasses.replace(block, inputs=(("mixer.in_proj",), ("mixer.out_proj",), *block.inputs[2:]))
    mixed = dataclasses.replace(architecture, kinds=(block, other), kind_of_block=(0, 1, 0))
    assert (mixed.n_blocks, mixed.block(0), mixed.block(1)) == (3, block, other)
    assert mixed.layers == (*block.layers, "mixer.in_proj", "mixer.out_proj")
    assert mixed.input_names == (*block.input_names, "mixer.in_proj", "mixer.out_proj")


@pytest.mark.parametrize("block", [-1, MOST_BLOCKS])
def test_a_block_that_the_model_lacks_is_an_error(block: int) -> None:
    with refused(ModelError, got=block, expected=f"0 to {MOST_BLOCKS - 1}"):
        ARCHITECTURES["gpt2"].block(block)
