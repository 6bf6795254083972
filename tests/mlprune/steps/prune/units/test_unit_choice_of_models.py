"""Planted units that never vary: they are removed first, and new biases make the model's logits the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.errors import StatisticsError
from mlprune.methods import FlapParameters
from mlprune.models.families.checks import oriented
from mlprune.models.families.records import FAMILIES, Family
from mlprune.numeric.weights.layer_inputs import FeatureMoments
from mlprune.pruning.spec import ScoreSpec
from mlprune.steps.job import ModelRef
from mlprune.steps.prune.units.choice import RemovedUnits, UnitModel, chosen_units, new_biases
from tests.tiny_models import save_tiny_model

TOKENS = torch.tensor([[5, 9, 200, 31, 77, 12, 150], [8, 2, 60, 61, 90, 120, 4]])
UNIT = {"heads": 1, "neurons": 5}
"""The planted unit of each kind."""


def plant(folder: Path, family: Family) -> Any:
    """Let a head and a neuron of a model pass on their biases alone, and return the model."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    files = UnitModel(model_ref(folder, family))
    block = model.get_submodule(f"{family.blocks}.0")
    for layout in files.layouts(0):
        for layer, owners in layout.rows.items():
            with torch.no_grad():
                oriented(block.get_submodule(layer).weight, family)[owners == UNIT[layout.kind]] = 0
    model.save_pretrained(folder)
    return model


def model_ref(folder: Path, family: Family) -> ModelRef:
    return ModelRef("id", str(folder), family.name, 1, None, "float32")


@torch.no_grad()
def moments_of(model: Any, family: Family) -> Mapping[str, FeatureMoments]:
    """Moments of the inputs of the output and down projections of the only block."""
    found: dict[str, FeatureMoments] = {}
    block, handles = model.get_submodule(f"{family.blocks}.0"), []
    for layer in (family.inputs[1][0], family.feed_forward[1]):

        def observe(_: Any, inputs: tuple[Tensor, ...], layer: str = layer) -> None:
            rows = inputs[0].flatten(0, -2).double()
            found[layer] = FeatureMoments(1, len(rows), rows.sum(0), rows.square().sum(0), rows.var(0))

        handles.append(block.get_submodule(layer).register_forward_pre_hook(observe))
    model(TOKENS)
    for handle in handles:
        handle.remove()
    return found


@torch.no_grad()
@pytest.mark.parametrize("name", ["xglm", "gpt2", "bloom"])
def test_constant_units_are_removed_first_and_their_removal_changes_no_logit(name: str, tmp_path: Path) -> None:
    changes = {"attention_heads": 4} if name == "xglm" else {"num_attention_heads": 4}
    family = FAMILIES[name]
    model = plant(save_tiny_model(tmp_path, name, blocks=1, **changes), family)
    dense, moments, files = model(TOKENS).logits, moments_of(model, family), UnitModel(model_ref(tmp_path, family))
    first: dict[str, Tensor] = {}
    for sparsity in (0.05 * step for step in range(1, 18)):
        (units,) = chosen_units(files, ScoreSpec("flap", "units"), sparsity=sparsity, read_moments=lambda _: moments)
        for one in units:
            if bool(one.removed.any()):
                first.setdefault(one.layout.kind, one.removed)
    assert {kind: bool(removed[UNIT[kind]]) for kind, removed in first.items()} == {"heads": True, "neurons": True}
    planted = tuple(
        RemovedUnits(layout, torch.arange(layout.n_units) == UNIT[layout.kind]) for layout in files.layouts(0)
    )
    biases = new_biases(files, planted, block=0, read_moments=lambda _: moments)
    block = model.get_submodule(f"{family.blocks}.0")
    for one in planted:
        layer = block.get_submodule(one.layout.output)
        oriented(layer.weight, family)[:, one.removed[one.layout.columns]] = 0
        assert not torch.equal(layer.bias, biases[one.layout.output])
        layer.bias.copy_(biases[one.layout.output])
    torch.testing.assert_close(model(TOKENS).logits, dense, rtol=1e-5, atol=1e-5)


def test_missing_moments_are_named(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, "mistral", blocks=1, num_attention_heads=4, num_key_value_heads=2)
    files = UnitModel(model_ref(tmp_path, FAMILIES["mistral"]))
    units = tuple(RemovedUnits(layout, torch.arange(layout.n_units) == 0) for layout in files.layouts(0))
    with pytest.raises(StatisticsError):
        new_biases(files, units, block=0, read_moments=lambda _: {})
    score = ScoreSpec("flap", "units", score_parameters=FlapParameters(head_power=1.0))
    with pytest.raises(StatisticsError):
        chosen_units(files, score, sparsity=0.3, read_moments=lambda _: {})
