"""Records of families: derived properties, checks of models against them, and limits of the sizes in a config."""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlprune.errors import ModelError
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.architecture.units import (
    UnitLayout,
    check_frame,
    check_layers,
    family_of,
    n_attention_heads,
    oriented,
    require_separable_heads,
    unit_layouts,
)
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, ARCHITECTURES, HIDDEN, tiny_config, tiny_model


@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_the_record_of_a_family_covers_its_whole_model(name):
    family, model = family_of(name), tiny_model(name, seed=0, blocks=2)
    check_frame(model, family)
    matrices = set()
    for block, module in enumerate(model.get_submodule(family.blocks)):
        check_layers(module, family, block=block)
        matrices |= {name for name, parameter in module.named_parameters() if parameter.dim() > 1}
    assert matrices == {f"{layer}.weight" for layer in family.layers}


def one_block(name):
    model = tiny_model(name, seed=0, blocks=1)
    return model, model.get_submodule(ARCHITECTURES[name].blocks)[0]


@pytest.mark.parametrize(
    ("added", "named"),
    [
        (lambda: nn.Linear(3, 3), "mlp.experts"),
        (lambda: nn.Parameter(torch.zeros(2, 4, 3)), "mlp.experts (2, 4, 3)"),
        (lambda: nn.Conv1d(2, 2, 3), "mlp.experts.weight (2, 2, 3)"),
        (lambda: nn.Embedding(5, 2), "mlp.experts.weight (5, 2)"),
    ],
    ids=["linear", "stacked-experts", "convolution", "table"],
)
def test_an_unlisted_weight_of_two_or_more_dimensions_is_an_error_that_names_block_and_weight(added, named):
    _, block = one_block("llama")
    block.scale = nn.Parameter(torch.ones(HIDDEN))
    check_layers(block, ARCHITECTURES["llama"], block=2)
    block.mlp.experts = added()
    with refused(ModelError, block=2, family="llama") as caught:
        check_layers(block, ARCHITECTURES["llama"], block=2)
    assert named in str(caught.value)


def test_a_layer_that_is_missing_or_transposed_and_a_head_of_another_type_are_errors():
    family = ARCHITECTURES["gpt2"]
    model, block = one_block("gpt2")
    with refused(ModelError, block=0, expected="Linear, [out, in]"):
        check_layers(block, dataclasses.replace(family, transposed=False), block=0)
    block.mlp.c_fc = nn.Linear(HIDDEN, 4 * HIDDEN)
    with refused(ModelError, block=0, expected="Conv1D, [in, out]"):
        check_layers(block, family, block=0)
    del block.mlp.c_fc
    with refused(ModelError, block=0, family="gpt2"):
        check_layers(block, family, block=0)
    model.lm_head = nn.Sequential(model.lm_head)
    with refused(ModelError, got="Sequential", family="gpt2"):
        check_frame(model, family)


@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_an_oriented_weight_maps_inputs_to_outputs(name):
    family = family_of(name)
    block = tiny_model(name, seed=0, blocks=1).get_submodule(family.blocks)[0]
    for path in family.layers:
        layer = block.get_submodule(path)
        view = oriented(layer.weight, family)
        inputs = torch.randn(5, view.shape[1])
        bias = 0 if layer.bias is None else layer.bias
        torch.testing.assert_close(layer(inputs), inputs @ view.T + bias)
        assert view.data_ptr() == layer.weight.data_ptr()


TOKENS = torch.tensor([[5, 9, 200, 31, 77, 12, 150]])
GROUPED = {"num_attention_heads": 4, "num_key_value_heads": 2}
"""Config changes that give a family with grouped-query attention two units of heads."""
SEPARABLE = [name for name in ALL_FAMILY_NAMES if name != "olmo2"]


def two_units(name: str) -> Any:
    """A tiny model with one block and two units of heads."""
    has_one_unit = tiny_config(name, blocks=1, hidden=16, positions=8).get("num_key_value_heads") == 1
    changes = GROUPED if has_one_unit and name not in ("opt", "gpt_neox") else {}
    return tiny_model(name, seed=3, blocks=1, **changes)


def layouts_of(model: nn.Module, family: Architecture) -> Sequence[UnitLayout]:
    block = model.get_submodule(f"{family.blocks}.0")
    weights = {layer: oriented(block.get_submodule(layer).get_parameter("weight"), family) for layer in family.layers}
    shapes = {layer: (weight.shape[0], weight.shape[1]) for layer, weight in weights.items()}
    return unit_layouts(family, shapes, model.config.to_dict())  # type: ignore[operator, union-attr]


@contextmanager
def without_inputs(layer: nn.Module, removed: Tensor) -> Iterator[None]:
    """Zero input features of a layer, [in] bool, until the context ends."""
    handle = layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].masked_fill(removed, 0.0),))
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def logits(model: Any) -> Tensor:
    result: Tensor = model(TOKENS).logits
    return result


@pytest.mark.parametrize("name", SEPARABLE)
def test_masking_a_unit_changes_nothing_but_what_it_passes_on(name: str) -> None:
    family, model = ARCHITECTURES[name], two_units(name)
    block = model.get_submodule(f"{family.blocks}.0")
    for layout in layouts_of(model, family):
        removed = torch.zeros(layout.n_units, dtype=torch.bool)
        removed[-1] = True
        weights = {layer: block.get_submodule(layer).get_parameter("weight") for layer in family.layers}
        masks = layout.keep_masks(removed, {layer: tuple(oriented(w, family).shape) for layer, w in weights.items()})
        n_masked = sum(int((~mask).sum()) for mask in masks.values())
        assert n_masked == layout.unit_weights
        assert torch.equal(layout.without_outputs(masks[layout.output]), removed)
        with without_inputs(block.get_submodule(layout.output), removed[layout.columns]):
            expected = logits(model)
        dense = logits(model)
        copies = {layer: weight.detach().clone() for layer, weight in weights.items()}
        with torch.no_grad():
            for layer, mask in masks.items():
                oriented(weights[layer], family).mul_(mask)
        torch.testing.assert_close(logits(model), expected)
        assert not torch.allclose(expected, dense)
        with torch.no_grad():
            for layer, copy in copies.items():
                weights[layer].copy_(copy)


@pytest.mark.parametrize("name", SEPARABLE)
def test_every_weight_belongs_to_one_unit(name: str) -> None:
    family, model = ARCHITECTURES[name], two_units(name)
    block = model.get_submodule(f"{family.blocks}.0")
    heads, neurons = layouts_of(model, family)
    n_weights = sum(block.get_submodule(layer).get_parameter("weight").numel() for layer in family.layers)
    assert heads.unit_weights * heads.n_units + neurons.unit_weights * neurons.n_units == n_weights
    assert {*heads.rows, heads.output, *neurons.rows, neurons.output} == set(family.layers)
    assert heads.n_units == 2


def test_heads_under_a_common_norm_and_wrong_configs_are_refused() -> None:
    family = ARCHITECTURES["olmo2"]
    (neurons,) = layouts_of(tiny_model("olmo2", seed=3, blocks=1), family)
    assert neurons.kind == "neurons"
    with refused(ModelError, family="olmo2"):
        require_separable_heads(family)
    with pytest.raises(ModelError):
        n_attention_heads({"hidden_size": 4})
    model = tiny_model("llama", seed=3, blocks=1)
    model.config.num_attention_heads = 3
    with refused(ModelError, expected=3, family="llama"):
        layouts_of(model, ARCHITECTURES["llama"])
    shapes = {"fc1": (7, 4), "fc2": (4, 3)}
    opt = ARCHITECTURES["opt"]
    attention = {layer: (4, 4) for layer in opt.layers if layer not in shapes}
    with refused(ModelError, family="opt"):
        unit_layouts(opt, {**attention, **shapes}, {"num_attention_heads": 2})


def test_layers_with_the_same_input_share_the_name_of_the_first():
    family = ARCHITECTURES["xglm"]
    assert family.input_of("self_attn.v_proj") == "self_attn.q_proj"
    assert family.input_of("fc2") == "fc2"
    assert family.input_names == ("self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2")
    assert len(family.layers) == 6
    with refused(ModelError, got="fc3", family="xglm"):
        family.input_of("fc3")


def test_the_prefix_that_checkpoints_omit_is_the_path_of_the_base_model():
    assert (ARCHITECTURES["opt"].base, ARCHITECTURES["opt"].prefix) == ("model.decoder", "model")
    assert ARCHITECTURES["gpt2"].base == ARCHITECTURES["gpt2"].prefix == "transformer"
