"""Own exports of every kind of unit are adopted again: equal masks, values and metrics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mlprune.capabilities.publishing.export import export_variant
from mlprune.models.architecture.units import LOADER_FILE
from mlprune.steps.variants.variant_rows import stored_tokens
from tests.expert_models import save_expert_model
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe, write_texts
from tests.tiny_types import save_tiny_model_of
from tests.trimmable_models import save_model_with_merges, save_unigram_model

DENSE = {"demonstrations": "mt", "propagation": "dense"}
MAGNITUDE = {"score": "magnitude", "sparsity": 0.5}
UNITS = {**DENSE, "score": "flap", "structure": "units", "sparsity": 0.3}
FIT = {"demonstrations": "mt", "steps": 2, "batch": 2}
EXPERTS = {"score": "random", "structure": "experts", "sparsity": 0.34}
BLOCK = {"score": "given", "structure": "blocks", "scope": {"blocks": [1]}}
KEEP = {"keep": {"languages": ["en"]}}
HEADS = {"hidden": 32, "num_attention_heads": 8, "num_key_value_heads": 4}


class Model(NamedTuple):
    """A tiny model, and the variants of it that are exported and adopted."""

    save: Callable[..., Path]
    name: str
    settings: dict[str, Any]
    variants: dict[str, dict[str, Any]]


MODELS = {
    "llama": Model(
        save_tiny_model,
        "llama",
        {"blocks": 3, **HEADS},
        {
            "zeros": MAGNITUDE,
            "new weights": {**DENSE, "score": "sparsegpt", "sparsity": 0.5},
            "new biases": {**DENSE, "score": "wanda", "sparsity": 0.5, "reconstruct": {**FIT, "biases": True}},
            "kept blocks": {**DENSE, "score": "wanda", "sparsity": 0.5, "reconstruct": {**FIT, "learning_rate": 1e6}},
            "bits": {**MAGNITUDE, "bits": 4, "quantisation_group": 16},
            "dense bits": {"sparsity": 0, "bits": 8, "quantisation_group": 16},
            "blocks": BLOCK,
            "units": {**UNITS, "equal_widths": True},
            "units with new weights": {**UNITS, "equal_widths": True, "reconstruct": FIT},
            "unequal units": UNITS,
            "unequal units with new weights": {**UNITS, "reconstruct": FIT},
        },
    ),
    "bloom": Model(save_tiny_model, "bloom", {"blocks": 2, "n_head": 4}, {"unequal units": UNITS}),
    "gemma4_text": Model(
        save_tiny_model_of, "gemma4_text", {"per_layer_config": {2: {"head_dim": 16}}}, {"blocks": BLOCK}
    ),
    "ernie4_5_moe": Model(save_tiny_model_of, "ernie4_5_moe", {"moe_num_experts": 9, "moe_k": 2}, {"experts": EXPERTS}),
    "qwen3_moe": Model(
        save_expert_model,
        "qwen3_moe",
        {"n_experts": 6},
        {"experts": EXPERTS, "experts with new weights": {**EXPERTS, "reconstruct": FIT}},
    ),
    "llama with merges": Model(
        save_model_with_merges,
        "llama",
        HEADS,
        {
            "tokens": {"structure": "vocabulary", **KEEP},
            "new weights and tokens": {**DENSE, "score": "sparsegpt", "sparsity": 0.5, **KEEP},
            "unequal units and tokens": {**UNITS, **KEEP},
        },
    ),
    "unigram": Model(save_unigram_model, "qwen3_moe", {}, {"experts and tokens": {**EXPERTS, **KEEP}}),
}
IN_TEST = ("llama", "qwen3_moe")
"""Models in `make test`."""
CASES = [
    pytest.param(model, variant, marks=() if model in IN_TEST else pytest.mark.thorough("adopts exports of many types"))
    for model, one in MODELS.items()
    for variant in one.variants
]


class Runs(dict[str, FinishedRun]):
    """Model -> a run that adopts the exports of all its variants next to these, made when a test asks for it first."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        super().__init__()
        self._factory = factory

    def __missing__(self, name: str) -> FinishedRun:
        model, folder = MODELS[name], self._factory.mktemp(name)
        model.save(folder / "model", model.name, **model.settings)
        write_texts(folder)
        variants = [{"name": variant, **entry} for variant, entry in model.variants.items()]
        recipe = {**small_recipe(), "variants": variants}
        own = finished_run(folder, recipe, name="run")
        for variant in model.variants:
            variant_id = own.named(variant)[0].id
            export_variant(own.store, variant_id, folder / "model", folder / variant, smaller="units" in variant)
        adopted = [{"name": f"their {variant}", "adopt": variant} for variant in model.variants]
        return self.setdefault(name, finished_run(folder, {**recipe, "variants": [*variants, *adopted]}, name="run"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory)


def metrics(run: FinishedRun, variant_id: str) -> list[tuple[str, ...]]:
    keys = ("task", "language", "metric", "value")
    return sorted(
        tuple(str(row.get(key)) for key in keys) for row in run.rows("metrics") if row["variant_id"] == variant_id
    )


def kept_tokens_of(run: FinishedRun, variant_id: str) -> list[int] | None:
    record = run.store.require("variants", variant_id)
    return stored_tokens(run.store, record) if "vocabularies" in record.rows else None


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder; rounded weights can be -0, which is equal to 0."""
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.mark.parametrize(("model", "name"), CASES)
def test_an_own_export_of_every_kind_is_adopted_with_equal_masks_and_metrics(
    runs: Runs, model: str, name: str, tmp_path: Path
) -> None:
    run = runs[model]
    own, their = (run.named(one)[0].id for one in (name, f"their {name}"))
    assert own != their
    assert metrics(run, own) == metrics(run, their) != []
    rows = [run.row("variants", one) for one in (own, their)]
    assert kept_tokens_of(run, own) == kept_tokens_of(run, their)
    if "tokens" in name:
        assert run.row("vocabularies", their)["n_removed_weights"] > 0
    columns = ["removed_blocks", "biases_changed"]
    if "bits" not in name:  # rounded weights can be 0, and are removed then
        columns += ["achieved_sparsity", "mask_sha256"]
    if name != "kept blocks":  # its kind of variant has new weights
        columns.append("weights_changed")
    for column in columns:
        assert rows[0].get(column) == rows[1].get(column), column
    export_variant(run.store, their, run.folder / "model", tmp_path / "again", smaller="units" in name)
    again, exported = (tensors_of(folder) for folder in (tmp_path / "again", run.folder / name))
    assert set(again) == set(exported)
    assert all(torch.equal(tensor, exported[key]) for key, tensor in again.items())
    assert (run.folder / name / LOADER_FILE).exists() == ("unequal" in name)
