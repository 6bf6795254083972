"""Removed blocks of models with tensors outside the blocks, and settings, that depend on the blocks."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.publishing.export import export_variant
from mlprune.errors import BadInputError
from mlprune.models import fewer_blocks
from mlprune.models.checkpoint.weight_files import architecture_at, read_json_object
from mlprune.models.fewer_blocks import settings_of_blocks, without_blocks
from tests.refusals import refused
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe, write_texts
from tests.tiny_types import save_tiny_model_of, tiny_config_of

TOKENS = torch.tensor([[5, 9, 80, 31, 77, 12, 50]])
REMOVED = (0, 1)


class Skipped(nn.Module):
    """A block that returns the hidden states that it gets."""

    def forward(self, hidden: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Variants of a model in which every block has an input of its own, and the last one settings of its own."""
    folder = tmp_path_factory.mktemp("inputs-per-block")
    save_tiny_model_of(folder / "model", "gemma4_text", per_layer_config={2: {"head_dim": 16}})
    write_texts(folder)
    given = {"score": "given", "structure": "blocks"}
    variants = [{"name": str(block), **given, "scope": {"blocks": [block]}} for block in REMOVED]
    recipe = {**small_recipe(), "demonstrations": [], "variants": variants, "evaluations": []}
    return finished_run(folder, recipe, name="blocks")


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(TOKENS, use_cache=False).logits
    return found


@pytest.mark.parametrize("removed", REMOVED)
def test_inputs_per_block_are_those_of_the_blocks_that_remain(run: FinishedRun, removed: int, tmp_path: Path) -> None:
    variant, model = run.named(str(removed))[0].id, run.folder / "model"
    reference = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    reference.model.layers[removed] = Skipped()
    expected = logits(reference)
    export_variant(run.store, variant, model, tmp_path / "out")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    torch.testing.assert_close(logits(exported), expected, rtol=1e-5, atol=1e-5)
    loaded = load_masked_model(run.store, variant, model)
    torch.testing.assert_close(logits(loaded), expected, rtol=1e-5, atol=1e-5)
    config = read_json_object(tmp_path / "out" / "config.json")
    assert config["per_layer_config"] == {"1": {"head_dim": 16}}
    sizes = [sum(file.stat().st_size for file in path.glob("*.safetensors")) for path in (model, tmp_path / "out")]
    assert sizes[1] < sizes[0]


def test_a_smaller_folder_that_cannot_be_opened_again_is_refused_and_leaves_nothing(
    run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder whose tensors outside the blocks keep their sizes."""
    monkeypatch.setattr(fewer_blocks, "_shapes_outside_blocks", lambda *_: {})
    variant = run.named("0")[0].id
    with refused(BadInputError, variant_id=variant, tensor="model.embed_tokens_per_layer.weight") as caught:
        export_variant(run.store, variant, run.folder / "model", tmp_path / "out")
    assert (caught.value.context["expected"], caught.value.context["got"]) == ((260, 12), (260, 18))
    assert str(tmp_path) not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_settings_with_an_entry_per_block_keep_those_of_the_blocks_that_remain() -> None:
    settings: dict[str, Any] = {
        "layer_types": ["a", "b", "c"],
        "layer_sizes": [1, 2],
        "per_layer_config": {"0": 5, 2: 7},
        "layer_names": {"first": 1},
        "others": [1, 2, 3],
    }
    assert settings_of_blocks(settings, 3, [1, 2]) == {"layer_types": ["b", "c"], "per_layer_config": {"1": 7}}


@pytest.mark.parametrize("shape", [(7, 3), (2, 2), (2,), None])
def test_a_tensor_that_depends_on_the_blocks_in_an_unknown_way_is_refused(
    shape: tuple[int, ...] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not as many entries of every block, depends on them in two dimensions, or exists no longer."""
    config = tiny_config_of("llama", num_hidden_layers=3)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()), encoding="utf-8")
    architecture = architecture_at(tmp_path)
    skeleton_of = fewer_blocks.skeleton_of

    def with_extra(config: Any, dtype: torch.dtype) -> Any:
        model = skeleton_of(config, dtype)
        size = (3, 3) if config.num_hidden_layers == 3 else shape
        if size is not None:
            model.register_parameter("extra", nn.Parameter(torch.empty(size, device="meta")))
        return model

    monkeypatch.setattr(fewer_blocks, "skeleton_of", with_extra)
    with refused(BadInputError, tensor="extra"):
        without_blocks(config, architecture, [1])
