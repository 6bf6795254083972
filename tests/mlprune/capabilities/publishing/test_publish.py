"""Published variants of all kinds: applied, they are their exports; what a folder contains; what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from mlprune.capabilities.publishing import publish as publishing
from mlprune.capabilities.publishing import tensor_changes
from mlprune.capabilities.publishing.publish import Publication, publish_variants
from mlprune.errors import BadInputError, DamagedArtefactError, RetiredArtefactError, StoreError
from mlprune.models.checkpoint.tensor_hashes import tensor_hashes
from mlprune.numeric.masks.packing import unpack_flags
from mlprune.pruning.mask_files import fingerprint
from mlprune.steps.variants.variant_rows import require_masks
from mlprune.store.retired import group_of, write_marker
from tests.composed_variants import Both
from tests.mlprune.capabilities.publishing.publications import publish, require_equal_models
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import FinishedRun, copy_of, finished_run, small_recipe, write_texts

MASKS_ONLY, NEW_VALUES = ("magnitude", "union"), ("flap", "sparsegpt", "bits", "dense bits")


def kinds_recipe() -> dict[str, Any]:
    """A variant of every kind that is stored in its own way."""
    recipe = small_recipe()
    mt = {"demonstrations": "mt"}
    recipe["variants"] = [
        {"name": "magnitude", "score": "magnitude", "sparsity": 0.5},
        {"name": "random", "score": "random", "sparsity": 0.5},
        {"name": "union", "combine": "union", "of": ["magnitude", "random"]},
        {"name": "flap", **mt, "score": "flap", "propagation": "dense", "sparsity": 0.4},
        {"name": "sparsegpt", **mt, "score": "sparsegpt", "sparsity": 0.5, "scope": {"without_blocks": [1]}},
        {"name": "bits", "score": "magnitude", "sparsity": 0.5, "bits": 4, "quantisation_group": 8},
        {"name": "dense bits", "sparsity": 0, "bits": 8},
    ]
    return {**recipe, "evaluations": []}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("kinds")
    save_tiny_model(folder / "model", "xglm", dtype=torch.float16)
    write_texts(folder)
    return finished_run(folder, kinds_recipe(), name="kinds")


def id_of(run: FinishedRun, name: str) -> str:
    return run.named(name)[0].id


@pytest.mark.thorough("exports and loads models")
@pytest.mark.parametrize("name", [*MASKS_ONLY, *NEW_VALUES])
def test_an_applied_variant_is_its_export(kinds: FinishedRun, name: str, tmp_path: Path) -> None:
    model = kinds.folder / "model"
    hashes = require_equal_models(kinds.store, id_of(kinds, name), model, tmp_path)
    base = tensor_hashes(model)
    changed = {tensor for tensor in base if hashes[tensor] != base[tensor]}
    assert changed
    assert not any("embed" in tensor for tensor in changed), "they are tied to the head"
    assert set(load_file(tmp_path / "published" / tensor_changes.MASKS)) == changed
    assert (tmp_path / "published" / tensor_changes.CHANGED).exists() == (name in NEW_VALUES)
    assert any(tensor.endswith("bias") for tensor in changed) == (name == "flap")


def test_an_applied_composition_is_its_export(both_runs: Both, tmp_path: Path) -> None:
    variant_id = both_runs.named("row by-both")
    assert require_masks(both_runs.composed, variant_id).composition is not None
    require_equal_models(both_runs.composed, variant_id, Path(both_runs.plan.model.path), tmp_path)


def magnitude_run(folder: Path, family: str, dtype: torch.dtype, *, in_several_files: bool) -> FinishedRun:
    save_tiny_model(folder / "model", family, dtype=dtype)
    if in_several_files:
        loaded = AutoModelForCausalLM.from_pretrained(folder / "model", dtype="auto")
        (folder / "model" / "model.safetensors").unlink()
        loaded.save_pretrained(folder / "model", max_shard_size="8KB")
    write_texts(folder)
    variants = [{"name": "magnitude", "score": "magnitude", "sparsity": 0.5}]
    return finished_run(folder, {**small_recipe(), "variants": variants, "evaluations": []}, name="one")


@pytest.mark.thorough("exports and loads models")
@pytest.mark.parametrize(
    ("family", "dtype", "in_several_files"),
    [("bloom", torch.float32, False), ("gpt2", torch.bfloat16, True)],
)
def test_families_dtypes_and_sharded_checkpoints(
    family: str, dtype: torch.dtype, in_several_files: bool, tmp_path: Path
) -> None:
    run = magnitude_run(tmp_path, family, dtype, in_several_files=in_several_files)
    require_equal_models(run.store, id_of(run, "magnitude"), run.folder / "model", tmp_path / "made")
    files = {path.name for path in (tmp_path / "made" / "applied").glob("model*")}
    assert ("model.safetensors.index.json" in files) == in_several_files
    assert (len(files) > 3) == in_several_files
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "made" / "applied", dtype="auto")
    assert loaded.dtype == dtype
    assert loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight


def test_the_masks_are_those_of_the_variant_by_the_names_of_the_checkpoint(kinds: FinishedRun, tmp_path: Path) -> None:
    variant_id = id_of(kinds, "magnitude")
    publish(kinds.store, [variant_id], kinds.folder / "model", tmp_path / "published")
    packed = load_file(tmp_path / "published" / tensor_changes.MASKS)
    masks = kinds.keep_masks(variant_id)
    assert len(packed) == len(masks)
    for (block, layer), kept in masks.items():
        bits = packed[f"model.layers.{block}.{layer}.weight"]
        assert bits.dtype == torch.uint8
        assert bits.numel() == -(-kept.numel() // 8)
        assert torch.equal(unpack_flags(bits.numpy(), tuple(kept.shape)), kept)
    record = kinds.store.require("variants", variant_id)
    assert record.rows["variants"][0]["mask_sha256"] != fingerprint([])


def test_a_folder_says_what_the_variant_is_and_how_to_apply_it(kinds: FinishedRun, tmp_path: Path) -> None:
    variant_id = id_of(kinds, "sparsegpt")
    base_id = kinds.store.require("variants", variant_id).parent("base_model")
    metrics = [{"task": "facts", "metric": "accuracy", "value": 0.5, "n": 8, "chance": 0.3}]
    publication = Publication(
        variant_id, "a label", metrics=metrics, environments=[{"python": "CPython"}], recipe="name: x\n"
    )
    publish_variants(kinds.store, [publication], {base_id: kinds.folder / "model"}, tmp_path / "out")
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {
        *("published.json", "masks.safetensors", "changed.safetensors", "metrics.json", "lineage.json"),
        *("environment.json", "recipe.yaml", "README.md", "apply_published.py"),
    }
    manifest = json.loads((tmp_path / "out" / "published.json").read_text())
    assert manifest["format"] == "mlprune-published/1"
    assert manifest["variant_id"] == variant_id
    assert manifest["base_model"]["id"] == base_id
    assert "config.json" in manifest["base_model"]["files"]
    base = tensor_hashes(kinds.folder / "model")
    assert {name: one["base_sha256"] for name, one in manifest["tensors"].items()} == {
        name: one.sha256 for name, one in base.items()
    }
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["metrics"] == metrics
    kinds_of = {entry["kind"] for entry in json.loads((tmp_path / "out" / "lineage.json").read_text())}
    assert {"variants", "base_models", "masks", "demonstration_sets"} <= kinds_of
    card = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["base_model"] == "model"
    assert "library_name" not in front
    assert "python apply_published.py BASE OUT" in card
    assert "stored densely" not in card


def test_several_variants_get_folders_and_an_index(kinds: FinishedRun, tmp_path: Path) -> None:
    ids = [id_of(kinds, name) for name in ("magnitude", "random")]
    folders = publish(kinds.store, ids, kinds.folder / "model", tmp_path / "out")
    assert [folder.name for folder in folders] == ids
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert [entry["folder"] for entry in index["variants"]] == ids
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*ids, "README.md", "index.json"])
    for entry in index["variants"]:
        folder = tmp_path / "out" / entry["folder"]
        assert json.loads((folder / "published.json").read_text())["variant_id"] == entry["variant_id"]
        assert entry["n_bytes"] == sum(path.stat().st_size for path in folder.iterdir())


def test_the_dense_model_has_nothing_to_publish(kinds: FinishedRun, tmp_path: Path) -> None:
    dense = next(one for one in kinds.plan.variants if kinds.row("variants", one)["sparsity"] == 0)
    with pytest.raises(BadInputError):
        publish(kinds.store, [dense], kinds.folder / "model", tmp_path / "out")


def test_a_folder_with_something_in_it_and_another_model_are_refused(kinds: FinishedRun, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(StoreError):
        publish(kinds.store, [id_of(kinds, "magnitude")], kinds.folder / "model", tmp_path / "out")
    other = save_tiny_model(tmp_path / "other", "xglm", seed=1, dtype=torch.float16)
    with pytest.raises(BadInputError):
        publish(kinds.store, [id_of(kinds, "magnitude")], other, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_damage_and_an_interruption_leave_nothing_behind(
    kinds: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = copy_of(kinds.store, tmp_path / "store")
    ids = [id_of(kinds, name) for name in ("magnitude", "random")]
    mask = require_masks(store, ids[1]).masks[2]
    (tmp_path / "store" / mask.path).write_bytes(b"damaged")
    with pytest.raises(DamagedArtefactError):
        publish(store, ids, kinds.folder / "model", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]

    (tmp_path / "store" / mask.path).unlink()
    write_marker(store, group_of(mask.path), retired_at="2026-11-26T18:00:00", reason="a rule")
    with pytest.raises(RetiredArtefactError):
        publish(store, ids, kinds.folder / "model", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(publishing, "_write_index", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(kinds.store, ids, kinds.folder / "model", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
