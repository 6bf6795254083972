"""Adopted checkpoints with fewer experts, heads or neurons: own exports give back masks and results, others refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from mlprune.capabilities.adoption.difference import compare_checkpoint
from mlprune.capabilities.publishing.export import export_variant
from mlprune.errors import BadInputError, ModelError
from mlprune.models.architecture.units import KEPT_FILE, LOADER_FILE
from mlprune.models.checkpoint.tensor_hashes import tensor_hashes
from mlprune.models.checkpoint.weight_files import read_json_object
from tests.expert_models import save_expert_model
from tests.refusals import refused
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe, write_texts

DENSE = {"demonstrations": "mt", "propagation": "dense"}
EXPERTS = {"score": "random", "structure": "experts", "sparsity": 0.34}
UNITS = {**DENSE, "score": "flap", "structure": "units", "sparsity": 0.5, "equal_widths": True}


def adopted_run(folder: Path, entry: dict[str, Any], *, smaller: bool = False) -> FinishedRun:
    """Run a variant, export it, and adopt the export in a second run next to its own kind."""
    write_texts(folder)
    variants = [{"name": "own", **entry}]
    own = finished_run(folder, {**small_recipe(), "variants": variants}, name="own")
    export_variant(own.store, own.named("own")[0].id, folder / "model", folder / "pruned", smaller=smaller)
    recipe = {**small_recipe(), "variants": [*variants, {"name": "their", "adopt": "pruned"}]}
    return finished_run(folder, recipe, name="adopted")


def require_equal_variants(run: FinishedRun) -> None:
    """Check that masks and results of both variants are equal."""
    own, their = (run.row("variants", run.named(name)[0].id) for name in ("own", "their"))
    for column in ("mask_sha256", "weights_changed", "biases_changed", "achieved_sparsity"):
        assert own.get(column) == their.get(column), column
    keys = ("task", "language", "metric", "value")
    metrics = [
        sorted(
            tuple(row.get(key) for key in keys)
            for row in run.rows("metrics")
            if row["variant_id"] == run.named(name)[0].id
        )
        for name in ("own", "their")
    ]
    assert metrics[0] == metrics[1] != []


@pytest.mark.thorough("exports and adopts models")
@pytest.mark.parametrize("model_type", ["qwen3_moe", "mixtral", "gpt_oss", "granitemoe", "deepseek_v3"])
def test_an_own_export_without_experts_gives_back_masks_and_results(model_type: str, tmp_path: Path) -> None:
    save_expert_model(tmp_path / "model", model_type, n_experts=8 if model_type == "deepseek_v3" else 6)
    reap = {**DENSE, **EXPERTS, "score": "reap"}
    run = adopted_run(tmp_path, reap)
    require_equal_variants(run)
    export_variant(run.store, run.named("their")[0].id, tmp_path / "model", tmp_path / "again")
    assert tensor_hashes(tmp_path / "again") == tensor_hashes(tmp_path / "pruned")


@pytest.mark.thorough("exports and adopts models")
@pytest.mark.parametrize(
    ("family", "sparsity", "compensate", "fewer"),
    [
        ("xglm", 0.3, True, {"ffn_dim"}),
        ("llama", 0.5, True, {"num_key_value_heads", "num_attention_heads", "intermediate_size"}),
        ("qwen3", 0.5, False, {"num_key_value_heads", "num_attention_heads", "intermediate_size"}),
        ("phi3", 0.3, False, {"intermediate_size"}),
    ],
)
def test_an_own_narrower_export_gives_back_masks_biases_and_results(
    family: str, sparsity: float, compensate: bool, fewer: set[str], tmp_path: Path
) -> None:
    heads = {"hidden": 32, "num_attention_heads": 8, "num_key_value_heads": 4}
    save_tiny_model(tmp_path / "model", family, blocks=2, **(heads if "num_key_value_heads" in fewer else {}))
    run = adopted_run(tmp_path, {**UNITS, "sparsity": sparsity, "compensate": compensate}, smaller=True)
    before, after = (read_json_object(tmp_path / name / "config.json") for name in ("model", "pruned"))
    assert fewer <= {key for key in before if before[key] != after.get(key)}
    require_equal_variants(run)


Change = Callable[[dict[str, Tensor]], None]


def changed_experts(folder: Path, change: Change) -> tuple[Path, Path]:
    """A base model, and an export of it without two experts whose tensors were changed."""
    save_expert_model(folder / "model", n_experts=6)
    write_texts(folder)
    recipe = {**small_recipe(), "variants": [{"name": "v", **EXPERTS}], "evaluations": [], "demonstrations": []}
    run = finished_run(folder, recipe, name="v")
    pruned = folder / "pruned"
    export_variant(run.store, run.named("v")[0].id, folder / "model", pruned)
    tensors = load_file(pruned / "model.safetensors")
    change(tensors)
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, pruned / "model.safetensors")
    return folder / "model", pruned


def test_zeros_and_new_values_in_the_remaining_experts_are_found(tmp_path: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors["model.layers.0.mlp.experts.1.down_proj.weight"][2] = 0
        tensors["model.layers.1.mlp.experts.3.up_proj.weight"] *= 2

    base, pruned = changed_experts(tmp_path, change)
    difference = compare_checkpoint(base, pruned)
    n_expert = 16 * 24 + 12 * 16
    assert difference.n_removed == 2 * 2 * n_expert + 12
    assert difference.weights_changed


def test_experts_of_another_router_or_order_are_refused(tmp_path: Path) -> None:
    def reverse(tensors: dict[str, Tensor]) -> None:
        name = "model.layers.1.mlp.gate.weight"
        tensors[name] = tensors[name].flip(0)

    base, pruned = changed_experts(tmp_path, reverse)
    with refused(BadInputError, block=1, expected="rows of the router"):
        compare_checkpoint(base, pruned)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model, and an export of it with fewer heads and neurons."""
    folder = tmp_path_factory.mktemp("narrow")
    save_tiny_model(folder / "model", "llama", blocks=2)
    adopted_run(folder, {**UNITS, "compensate": False}, smaller=True)
    return folder


@pytest.fixture
def trained(narrow: Path, tmp_path: Path) -> Path:
    """A copy of the export with new values in a narrower layer."""
    folder = tmp_path / "trained"
    shutil.copytree(narrow / "pruned", folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"] += 0.1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_retrained_narrower_weights_are_found_if_the_folder_states_its_units(narrow: Path, trained: Path) -> None:
    difference = compare_checkpoint(narrow / "model", trained)
    assert difference.weights_changed
    assert difference.n_removed == compare_checkpoint(narrow / "model", narrow / "pruned").n_removed
    (trained / KEPT_FILE).unlink()
    with refused(BadInputError, block=0, expected="unchanged rows and columns"):
        compare_checkpoint(narrow / "model", trained)


@pytest.mark.parametrize(
    "blocks", [[], ["heads"], [{"heads": [0]}] * 2, [{"neurons": [-1]}] * 2, [{"neurons": list(range(32))}] * 2]
)
def test_statements_of_units_that_do_not_fit_the_weights_are_refused(
    narrow: Path, trained: Path, blocks: list[Any]
) -> None:
    (trained / KEPT_FILE).write_text(json.dumps({"blocks": blocks}))
    with refused(BadInputError, path=str(trained), block=0):
        compare_checkpoint(narrow / "model", trained)


def test_narrower_weights_of_another_model_are_refused(narrow: Path, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "other", "llama", blocks=2, seed=9)
    with pytest.raises(BadInputError):
        compare_checkpoint(other, narrow / "pruned")


@pytest.mark.parametrize("changes", [{}, {"narrowed": {"model.layers.7.fc1.weight": "model.safetensors:x"}}])
def test_a_folder_whose_loader_has_no_usable_changes_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    base = save_tiny_model(tmp_path / "model", "xglm", blocks=2)
    pruned = shutil.copytree(base, tmp_path / "pruned")
    (pruned / LOADER_FILE).write_text(json.dumps(changes))
    with pytest.raises(ModelError):
        compare_checkpoint(base, pruned)
