"""Export of a variant into the multimodal checkpoint from which its base model was imported."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from mlprune.capabilities.importing import model_import
from mlprune.capabilities.importing.model_import import import_model
from mlprune.capabilities.publishing import multimodal
from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.publishing.multimodal import export_into_multimodal
from mlprune.errors import BadInputError, PermanentError, StoreError
from mlprune.models.import_record import ImportRecord
from mlprune.store.store import Store
from tests.mlprune.capabilities.importing.conftest import run_here as convert_here
from tests.multimodal_models import change_config, multimodal_model, publish_multimodal, stored_tensors, text_logits
from tests.refusals import refused
from tests.tiny_recipes import run_here, small_recipe, write_recipe, write_texts

TOKENS = torch.randint(3, 250, (2, 10), generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True)
class Made:
    """A store with variants of the text part of a multimodal checkpoint."""

    folder: Path
    store: Store
    checkpoint: Path
    model: Path
    variants: tuple[str, ...]
    """The dense one is the first."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("multimodal")
    checkpoint = publish_multimodal(folder / "checkpoint", multimodal_model("gemma3"), max_shard_size="20KB")
    (checkpoint / "processor_config.json").write_text("{}")
    (checkpoint / "modeling.py").write_text("raise SystemExit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_import, "run_child", convert_here)
        import_model(checkpoint, folder / "model", report=lambda _: None)
    write_texts(folder)
    store = Store(folder / "store")
    plan = run_here(write_recipe(folder, {**small_recipe(), "evaluations": []}), store)
    return Made(folder, store, checkpoint, folder / "model", tuple(dict(plan.variants)))


def test_the_checkpoint_gets_the_zeros_of_the_variant_and_nothing_else(made: Made, tmp_path: Path) -> None:
    variant = made.variants[-1]
    export_into_multimodal(made.store, variant, made.model, made.checkpoint, tmp_path / "out")
    export_variant(made.store, variant, made.model, tmp_path / "text")
    base, written = stored_tensors(made.checkpoint), stored_tensors(tmp_path / "out")
    text = stored_tensors(tmp_path / "text")
    assert set(written) == set(base)
    n_zeros = 0
    for name, tensor in written.items():
        in_text = name.removeprefix("language_model.")
        expected = text[in_text] if name.startswith("language_model.") else base[name]
        assert torch.equal(tensor, expected)
        n_zeros += int(((tensor == 0) & (base[name] != 0)).sum())
    rows = made.store.require("variants", variant).rows["variant_layers"]
    assert n_zeros == sum(row["n_removed"] for row in rows) > 0
    names = {path.name for path in made.checkpoint.iterdir()} - {"modeling.py"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names | {"README.md"}
    assert "gemma3" in (tmp_path / "out" / "README.md").read_text()


def test_the_checkpoint_with_a_variant_computes_from_text_what_the_variant_computes(made: Made, tmp_path: Path) -> None:
    export_into_multimodal(made.store, made.variants[1], made.model, made.checkpoint, tmp_path / "out")
    export_variant(made.store, made.variants[1], made.model, tmp_path / "text")
    whole = AutoModelForImageTextToText.from_pretrained(tmp_path / "out").eval()
    text = AutoModelForCausalLM.from_pretrained(tmp_path / "text").eval()
    torch.testing.assert_close(text_logits(whole, TOKENS), text_logits(text, TOKENS), rtol=0, atol=1e-5)


def test_the_dense_variant_gives_the_checkpoint_back(made: Made, tmp_path: Path) -> None:
    export_into_multimodal(made.store, made.variants[0], made.model, made.checkpoint, tmp_path / "out")
    for file in made.checkpoint.glob("*.safetensors"):
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes()


def without_record(model: Path, _checkpoint: Path) -> None:
    (model / "mlprune_import.json").unlink()


def converted(model: Path, checkpoint: Path) -> None:
    shutil.rmtree(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_import, "run_child", convert_here)
        import_model(checkpoint, model, dtype="float32", report=lambda _: None)


def other_config(_model: Path, checkpoint: Path) -> None:
    change_config(checkpoint, image_token_index=3)


@pytest.mark.parametrize(
    ("change", "context"),
    [
        (without_record, {"expected": "a folder that mlprune import made"}),
        (converted, {"got": "float32"}),
        (other_config, {"different": ["config.json"]}),
    ],
)
def test_a_folder_that_is_not_the_source_of_the_base_model_is_refused(
    made: Made, tmp_path: Path, change: Callable[[Path, Path], None], context: dict[str, Any]
) -> None:
    model, checkpoint = tmp_path / "model", tmp_path / "checkpoint"
    shutil.copytree(made.model, model)
    shutil.copytree(made.checkpoint, checkpoint)
    change(model, checkpoint)
    with refused(BadInputError, **context):
        export_into_multimodal(made.store, made.variants[1], model, checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


COPY_FILES = multimodal.copy_checkpoint


def damaged_copies(checkpoint: Path, target: Path, imported: ImportRecord) -> None:
    COPY_FILES(checkpoint, target, imported)
    file = max(target.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")


@pytest.mark.parametrize(("name", "fault"), [("zero_weights", lambda *_: None), ("copy_checkpoint", damaged_copies)])
def test_an_export_whose_tensors_differ_from_what_was_computed_is_refused(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: Callable[..., None]
) -> None:
    monkeypatch.setattr(multimodal, name, fault)
    with pytest.raises(PermanentError):
        export_into_multimodal(made.store, made.variants[1], made.model, made.checkpoint, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_target_with_files_is_refused(made: Made, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError):
        export_into_multimodal(made.store, made.variants[1], made.model, made.checkpoint, tmp_path)


@pytest.mark.parametrize(
    ("found_by", "found"), [("removed_blocks", {1}), ("removed_experts_of", {1: (0,)})], ids=["blocks", "experts"]
)
def test_a_variant_without_some_blocks_or_experts_is_refused(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found_by: str, found: object
) -> None:
    monkeypatch.setattr(multimodal, found_by, lambda *_: found)
    with refused(BadInputError, variant_id=made.variants[1]):
        export_into_multimodal(made.store, made.variants[1], made.model, made.checkpoint, tmp_path / "out")
