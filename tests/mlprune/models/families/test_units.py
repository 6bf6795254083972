"""Rows and columns of heads and neurons: removing a unit equals removing what it passes on, in every family."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlprune.errors import ModelError
from mlprune.models.families.checks import oriented
from mlprune.models.families.records import FAMILIES, Family
from mlprune.models.families.units import UnitLayout, n_attention_heads, require_separable_heads, unit_layouts
from tests.tiny_models import ALL_FAMILY_NAMES, tiny_config, tiny_model

TOKENS = torch.tensor([[5, 9, 200, 31, 77, 12, 150]])
GROUPED = {"num_attention_heads": 4, "num_key_value_heads": 2}
"""Config changes that give a family with grouped-query attention two units of heads."""
SEPARABLE = [name for name in ALL_FAMILY_NAMES if name != "olmo2"]


def two_units(name: str) -> Any:
    """A tiny model with one block and two units of heads."""
    has_one_unit = tiny_config(name, blocks=1, hidden=16, positions=8).get("num_key_value_heads") == 1
    changes = GROUPED if has_one_unit and name not in ("opt", "gpt_neox") else {}
    return tiny_model(name, seed=3, blocks=1, **changes)


def layouts_of(model: nn.Module, family: Family) -> Sequence[UnitLayout]:
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
    family, model = FAMILIES[name], two_units(name)
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
    family, model = FAMILIES[name], two_units(name)
    block = model.get_submodule(f"{family.blocks}.0")
    heads, neurons = layouts_of(model, family)
    n_weights = sum(block.get_submodule(layer).get_parameter("weight").numel() for layer in family.layers)
    assert heads.unit_weights * heads.n_units + neurons.unit_weights * neurons.n_units == n_weights
    assert {*heads.rows, heads.output, *neurons.rows, neurons.output} == set(family.layers)
    assert heads.n_units == 2


def test_heads_under_a_common_norm_and_wrong_configs_are_refused() -> None:
    family = FAMILIES["olmo2"]
    (neurons,) = layouts_of(tiny_model("olmo2", seed=3, blocks=1), family)
    assert neurons.kind == "neurons"
    with pytest.raises(ModelError, match="norm over all heads"):
        require_separable_heads(family)
    with pytest.raises(ModelError):
        n_attention_heads({"hidden_size": 4})
    model = tiny_model("llama", seed=3, blocks=1)
    model.config.num_attention_heads = 3
    with pytest.raises(ModelError, match="does not fit"):
        layouts_of(model, FAMILIES["llama"])
    shapes = {"fc1": (7, 4), "fc2": (4, 3)}
    opt = FAMILIES["opt"]
    attention = {layer: (4, 4) for layer in opt.layers if layer not in shapes}
    with pytest.raises(ModelError, match="do not fit each other"):
        unit_layouts(opt, {**attention, **shapes}, {"num_attention_heads": 2})
