"""Imports of mixtures of experts in all forms of their tensors, and runs on the imported folders."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.capabilities.importing.model_import import import_model
from mlprune.capabilities.publishing.export import export_variant
from mlprune.errors import ModelError
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.models.meta_model import build_skeleton
from mlprune.steps.rescore.verify import verify_variant
from tests.expert_models import EXPERT_TYPES, save_expert_model
from tests.mlprune.capabilities.publishing.publications import require_equal_models
from tests.published_models import publish
from tests.refusals import refused
from tests.tiny_recipes import finished_run, small_recipe, write_texts

STACKS = ("experts.gate_up_proj", "experts.down_proj")


def own_tensors(model: Path) -> dict[str, Tensor]:
    """The tensors as the library writes them: per expert, if published checkpoints of the type have them so."""
    return load_file(model / "model.safetensors")


def stacked_tensors(model: Path) -> dict[str, Tensor]:
    """The tensors as the library has them in memory: all experts of a block in one."""
    state = AutoModelForCausalLM.from_pretrained(model, dtype="auto").state_dict()
    assert any(name.endswith(STACKS) for name in state)
    return {name: tensor.clone() for name, tensor in state.items()}


def parameters(folder: Path) -> dict[str, Tensor]:
    """All parameters of a model, each expert by itself; those that a checkpoint shares are left out."""
    files = WeightFiles(folder, architecture_at(folder))
    names = [name for name, _ in build_skeleton(folder, torch.float32).named_parameters()]
    return {name: files.read(name, torch.float32) for name in names if files.has(name)}


def assert_same_parameters(got: Path, expected: Path) -> None:
    """Check that two folders have the same values."""
    values, others = parameters(got), parameters(expected)
    assert set(values) == set(others)
    assert any(".experts.3." in name for name in values)
    assert all(torch.equal(values[name], tensor) for name, tensor in others.items())


@pytest.mark.thorough("imports checkpoints of many forms")
@pytest.mark.usefixtures("without_child")
@pytest.mark.parametrize("model_type", EXPERT_TYPES)
def test_experts_are_imported_from_pickled_and_safe_files_as_stacks_and_one_by_one(
    model_type: str, tmp_path: Path
) -> None:
    model = save_expert_model(tmp_path / "model", model_type)
    for name, tensors in {"own": own_tensors(model), "stacked": stacked_tensors(model)}.items():
        source = publish(tmp_path / name, model, tensors, n_files=2)
        import_model(source, tmp_path / f"out-{name}", report=lambda _: None)
        assert_same_parameters(tmp_path / f"out-{name}", model)
        half = publish(tmp_path / f"safe-{name}", model, {})
        save_file({key: tensor.double() for key, tensor in tensors.items()}, half / "model.safetensors")
        import_model(half, tmp_path / f"out-safe-{name}", dtype="float32", report=lambda _: None)
        assert_same_parameters(tmp_path / f"out-safe-{name}", model)


@pytest.mark.thorough("imports checkpoints of many forms")
@pytest.mark.usefixtures("without_child")
@pytest.mark.parametrize("model_type", ["qwen3_moe", "mixtral", "gpt_oss"])
def test_an_imported_mixture_is_evaluated_pruned_published_and_verified(model_type: str, tmp_path: Path) -> None:
    model = save_expert_model(tmp_path / "saved", model_type)
    source = publish(tmp_path / "source", model, own_tensors(model))
    import_model(source, tmp_path / "model", report=lambda _: None)
    write_texts(tmp_path)
    variants = [
        {"name": "wanda", "demonstrations": "mt", "score": "wanda", "sparsity": 0.5, "propagation": "dense"},
        {"name": "reap", "demonstrations": "mt", "score": "reap", "structure": "experts", "sparsity": 0.25}
        | {"propagation": "dense"},
    ]
    run = finished_run(tmp_path, {**small_recipe(), "variants": variants}, name="run")
    of_variants = {row["variant_id"] for row in run.rows("metrics")}
    wanda, reap = (run.named(name)[0].id for name in ("wanda", "reap"))
    assert {wanda, reap} < of_variants
    require_equal_models(run.store, wanda, tmp_path / "model", tmp_path)
    for variant in (wanda, reap):
        assert verify_variant(run.store, run.store.require("variants", variant), tmp_path / "model").is_equal
    export_variant(run.store, reap, tmp_path / "model", tmp_path / "fewer")
    experts = architecture_at(tmp_path / "fewer").block(1).experts
    assert experts is not None
    assert experts.n_experts == 3


@pytest.mark.usefixtures("without_child")
def test_tensors_of_experts_that_are_missing_or_do_not_fit_are_named(tmp_path: Path) -> None:
    model = save_expert_model(tmp_path / "model", "qwen3_moe")
    tensors, missing = own_tensors(model), "model.layers.1.mlp.experts.2.up_proj.weight"
    source = publish(tmp_path / "missing", model, {name: one for name, one in tensors.items() if name != missing})
    with refused(ModelError, tensors=[missing], n_tensors=1):
        import_model(source, tmp_path / "out", report=lambda _: None)
    wide = publish(tmp_path / "wide", model, tensors | {missing: torch.zeros(99, 16)})
    with pytest.raises(ModelError, match="does not fit"):
        import_model(wide, tmp_path / "out", report=lambda _: None)
    stack = "model.layers.0.mlp.experts.down_proj"
    stacks = stacked_tensors(model)
    few = publish(tmp_path / "few", model, {**stacks, stack: stacks[stack][:3].clone()})
    with refused(ModelError, tensor=stack, expected=(4, 16, 12), got=(3, 16, 12)):
        import_model(few, tmp_path / "out", report=lambda _: None)
    assert not (tmp_path / "out").exists()
