"""Units of a block: masks of single heads and neurons, and models whose units cannot be removed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlprune.errors import ModelError
from mlprune.models.architecture.architecture import Architecture, oriented
from mlprune.models.architecture.units import (
    UnitLayout,
    n_attention_heads,
    require_neurons,
    require_separable_heads,
    unit_layouts,
)
from tests.groups import of_each_layout
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, ARCHITECTURES, tiny_config, tiny_model

TOKENS = torch.tensor([[5, 9, 200, 31, 77, 12, 150]])
GROUPED = {"num_attention_heads": 4, "num_key_value_heads": 2}
"""Config changes that give a model with grouped-query attention two units of heads."""
SEPARABLE = [name for name in ALL_FAMILY_NAMES if name != "olmo2"]


def two_units(name: str) -> Any:
    """A tiny model with one block and two units of heads."""
    has_one_unit = tiny_config(name, blocks=1, hidden=16, positions=8).get("num_key_value_heads") == 1
    changes = GROUPED if has_one_unit and name not in ("opt", "gpt_neox") else {}
    return tiny_model(name, seed=3, blocks=1, **changes)


def layouts_of(model: nn.Module, architecture: Architecture) -> Sequence[UnitLayout]:
    block, kind = model.get_submodule(f"{architecture.blocks}.0"), architecture.block(0)
    weights = {layer: oriented(block.get_submodule(layer).get_parameter("weight"), kind) for layer in kind.layers}
    shapes = {layer: (weight.shape[0], weight.shape[1]) for layer, weight in weights.items()}
    return unit_layouts(kind, shapes, model.config.to_dict())  # type: ignore[operator, union-attr]


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


@pytest.mark.thorough("builds a model of every type")
@pytest.mark.parametrize("name", SEPARABLE)
def test_masking_a_unit_changes_nothing_but_what_it_passes_on(name: str) -> None:
    architecture, model = ARCHITECTURES[name], two_units(name)
    block, kind = model.get_submodule(f"{architecture.blocks}.0"), architecture.block(0)
    for layout in layouts_of(model, architecture):
        removed = torch.zeros(layout.n_units, dtype=torch.bool)
        removed[-1] = True
        weights = {layer: block.get_submodule(layer).get_parameter("weight") for layer in kind.layers}
        masks = layout.keep_masks(removed, {layer: tuple(oriented(w, kind).shape) for layer, w in weights.items()})
        n_masked = sum(int((~mask).sum()) for mask in masks.values())
        assert n_masked == layout.unit_weights
        assert torch.equal(layout.without_outputs(masks[layout.output]), removed)
        with without_inputs(block.get_submodule(layout.output), removed[layout.columns]):
            expected = logits(model)
        dense = logits(model)
        copies = {layer: weight.detach().clone() for layer, weight in weights.items()}
        with torch.no_grad():
            for layer, mask in masks.items():
                oriented(weights[layer], kind).mul_(mask)
        torch.testing.assert_close(logits(model), expected)
        assert not torch.allclose(expected, dense)
        with torch.no_grad():
            for layer, copy in copies.items():
                weights[layer].copy_(copy)


@pytest.mark.parametrize("name", of_each_layout(SEPARABLE))
def test_every_weight_belongs_to_one_unit(name: str) -> None:
    architecture, model = ARCHITECTURES[name], two_units(name)
    block, kind = model.get_submodule(f"{architecture.blocks}.0"), architecture.block(0)
    heads, neurons = layouts_of(model, architecture)
    n_weights = sum(block.get_submodule(layer).get_parameter("weight").numel() for layer in kind.layers)
    assert heads.unit_weights * heads.n_units + neurons.unit_weights * neurons.n_units == n_weights
    assert {*heads.rows, heads.output, *neurons.rows, neurons.output} == set(kind.layers)
    assert heads.n_units == 2


def test_heads_under_a_common_norm_stay_and_neurons_can_be_removed() -> None:
    architecture = ARCHITECTURES["olmo2"]
    (neurons,) = layouts_of(tiny_model("olmo2", seed=3, blocks=1), architecture)
    assert neurons.kind == "neurons"
    require_neurons(architecture)
    with refused(ModelError, model_type="olmo2"):
        require_separable_heads(architecture)


@pytest.mark.parametrize("changes", [{"heads": "unknown"}, {"attention": None}])
def test_one_kind_of_block_without_separable_heads_refuses_them_for_the_model(changes: dict[str, Any]) -> None:
    architecture = ARCHITECTURES["llama"]
    require_separable_heads(architecture)
    (block,) = architecture.kinds
    other = replace(block, **changes)
    with refused(ModelError, model_type="llama"):
        require_separable_heads(replace(architecture, kinds=(block, other)))


def test_a_block_without_neurons_has_only_heads_and_is_refused_where_neurons_are_needed() -> None:
    architecture, model = ARCHITECTURES["llama"], two_units("llama")
    without = replace(architecture, kinds=(replace(architecture.block(0), feed_forward=None),))
    (heads,) = layouts_of(model, without)
    assert heads.kind == "heads"
    with refused(ModelError, model_type="llama"):
        require_neurons(without)


def test_configs_that_do_not_fit_the_weights_are_refused() -> None:
    with pytest.raises(ModelError):
        n_attention_heads({"hidden_size": 4})
    model = tiny_model("llama", seed=3, blocks=1)
    model.config.num_attention_heads = 3
    with refused(ModelError, expected=3):
        layouts_of(model, ARCHITECTURES["llama"])
    shapes = {"fc1": (7, 4), "fc2": (4, 3)}
    opt = ARCHITECTURES["opt"].block(0)
    attention = {layer: (4, 4) for layer in opt.layers if layer not in shapes}
    with refused(ModelError, got=shapes):
        unit_layouts(opt, {**attention, **shapes}, {"num_attention_heads": 2})
