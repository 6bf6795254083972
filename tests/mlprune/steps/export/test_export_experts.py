"""Exports of mixtures of experts: masks on layers of experts, and removed experts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.models.checkpoint.tensor_hashes import read_hashes
from mlprune.steps.export.masked_model import load_masked_model
from mlprune.steps.rescore.verify import verify_variant
from tests.expert_models import EXPERT_TYPES, experts_allowed, save_expert_model  # noqa: F401
from tests.mlprune.steps.publish.publications import require_equal_models
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe, write_texts

TOKENS = torch.tensor([[5, 9, 80, 31, 77, 12, 50]])


def expert_run(folder: Path, model_type: str, variants: list[dict[str, Any]]) -> FinishedRun:
    save_expert_model(folder / "model", model_type, n_experts=6)
    write_texts(folder)
    return finished_run(folder, {**small_recipe(), "variants": variants, "evaluations": []}, name="experts")


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        values: Tensor = model(TOKENS, use_cache=False).logits
    return values


def assert_same_logits(got: Any, expected: Any) -> None:
    torch.testing.assert_close(logits(got), logits(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model_type", EXPERT_TYPES)
def test_masks_of_layers_of_experts_are_in_an_export_an_applied_variant_and_a_loaded_model(
    model_type: str, tmp_path: Path
) -> None:
    variants: list[dict[str, Any]] = [
        {"name": "magnitude", "score": "magnitude", "sparsity": 0.5},
        {"name": "bits", "score": "magnitude", "sparsity": 0.5, "bits": 4, "quantisation_group": 4},
        {"name": "sparsegpt", "demonstrations": "mt", "score": "sparsegpt", "sparsity": 0.5},
    ]
    run = expert_run(tmp_path, model_type, variants)
    for name in ("magnitude", "bits", "sparsegpt"):
        variant = run.named(name)[0]
        made = tmp_path / name
        require_equal_models(run.store, variant.id, run.folder / "model", made)
        exported = AutoModelForCausalLM.from_pretrained(made / "exported", dtype="auto")
        assert_same_logits(exported, load_masked_model(run.store, variant.id, run.folder / "model"))
    magnitude = run.store.require("variants", run.named("magnitude")[0].id)
    assert verify_variant(run.store, magnitude, run.folder / "model").is_equal
    n_removed = sum(row["n_removed"] for row in magnitude.rows["variant_layers"])
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "magnitude" / "exported")
    assert sum(int((weight == 0).sum()) for weight in exported.parameters()) == n_removed
    names = set(read_hashes(tmp_path / "magnitude" / "exported"))
    assert any(".experts.5." in name for name in names) == (model_type not in ("gpt_oss", "granitemoe"))
