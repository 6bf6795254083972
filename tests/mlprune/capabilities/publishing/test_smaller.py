"""Smaller models of every type: their logits are those of the masked model, loaded by transformers or our loader."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.capabilities.publishing.smaller import (
    BlockUnits,
    UnequalWidths,
    kept_units,
    loader_changes,
    narrow_config,
    narrow_files,
)
from mlprune.json_values import JsonObject
from mlprune.models import load_smaller
from mlprune.models.architecture.architecture import oriented
from mlprune.models.architecture.units import unit_layouts
from mlprune.models.checkpoint.weight_files import read_json_object
from tests.tiny_models import ALL_FAMILY_NAMES, ARCHITECTURES, tiny_model

TOKENS = torch.tensor([[5, 9, 200, 31, 77, 12, 150], [8, 2, 60, 61, 90, 120, 4]])
PADDING = torch.tensor([[1] * 7, [0, 0, 1, 1, 1, 1, 1]])
HAS_OWN_HEAD_COUNT = ("xglm", "gpt2", "bloom", "opt", "gpt_neox")
PLAIN = [name for name in ALL_FAMILY_NAMES if name not in HAS_OWN_HEAD_COUNT]


def masked_model(name: str, *, equal: bool) -> tuple[Any, list[BlockUnits], JsonObject]:
    """A model of which some heads and neurons are masked, the units that remain, and its config."""
    grouped = {} if name in ("xglm", "gpt2", "bloom") else {"num_attention_heads": 8, "num_key_value_heads": 4}
    widths = {"xglm": {"attention_heads": 4}, "gpt2": {"n_head": 4}, "bloom": {"n_head": 4}}
    model = tiny_model(name, seed=4, blocks=2, hidden=32, **(grouped or widths[name]))
    architecture, config = ARCHITECTURES[name], json.loads(model.config.to_json_string(use_diff=False))
    blocks = []
    for index, block in enumerate(model.get_submodule(architecture.blocks)):
        kind = architecture.block(index)
        weights = {layer: oriented(block.get_submodule(layer).weight, kind) for layer in kind.layers}
        shapes = {layer: (weight.shape[0], weight.shape[1]) for layer, weight in weights.items()}
        masks: dict[str, Tensor] = {}
        layouts = unit_layouts(kind, shapes, config)
        for layout in layouts:
            removed = torch.zeros(layout.n_units, dtype=torch.bool)
            removed[index : index + 2 + (0 if equal else index)] = True
            masks |= layout.keep_masks(removed, shapes)
        with torch.no_grad():
            for layer, mask in masks.items():
                weights[layer].mul_(mask)
        blocks.append(kept_units(layouts, masks))
    return model, blocks, config


@torch.no_grad()
def logits(model: Any) -> Tensor:
    first: Tensor = model(TOKENS).logits
    second: Tensor = model(TOKENS, attention_mask=PADDING).logits[1, 2:]
    return torch.cat([first.flatten(), second.flatten()])


def written(folder: Path, name: str, model: Any, blocks: Sequence[BlockUnits]) -> dict[str, str]:
    model.save_pretrained(folder)
    return narrow_files(folder, ARCHITECTURES[name], blocks)


def n_bytes(folder: Path) -> int:
    return sum(tensor.nbytes for tensor in load_file(folder / "model.safetensors").values())


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", PLAIN)
def test_equal_widths_give_a_folder_that_transformers_loads(name: str, tmp_path: Path) -> None:
    model, blocks, _ = masked_model(name, equal=True)
    dense_bytes = sum(parameter.nbytes for parameter in model.parameters())
    expected = logits(model)
    written(tmp_path, name, model, blocks)
    narrow = narrow_config(ARCHITECTURES[name], {**read_json_object(tmp_path / "config.json")}, blocks)
    assert not isinstance(narrow, UnequalWidths)
    (tmp_path / "config.json").write_text(json.dumps(narrow))
    smaller = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(logits(smaller), expected, rtol=1e-5, atol=1e-5)
    assert sum(parameter.nbytes for parameter in smaller.parameters()) == n_bytes(tmp_path) < dense_bytes


@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_unequal_widths_load_with_the_loader_of_the_folder(name: str, tmp_path: Path) -> None:
    model, blocks, config = masked_model(name, equal=False)
    expected = logits(model)
    assert isinstance(narrow_config(ARCHITECTURES[name], config, blocks), UnequalWidths)
    narrowed = written(tmp_path, name, model, blocks)
    changes = {**loader_changes(ARCHITECTURES[name], config, blocks), "narrowed": narrowed}
    (tmp_path / "smaller.json").write_text(json.dumps(changes))
    smaller = load_smaller.load(tmp_path)
    torch.testing.assert_close(logits(smaller), expected, rtol=1e-5, atol=1e-5)
    generated = smaller.generate(TOKENS[:1], max_new_tokens=3, do_sample=False)
    assert torch.equal(generated, model.generate(TOKENS[:1], max_new_tokens=3, do_sample=False))
    assert sum(parameter.nbytes for parameter in smaller.parameters()) == n_bytes(tmp_path)
