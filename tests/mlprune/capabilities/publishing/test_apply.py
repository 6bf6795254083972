"""Applying published variants: other base models and damaged folders are refused, and the loader needs little."""

import ast
import json
import os
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, XGLMForCausalLM

from mlprune.capabilities.publishing import apply as applying
from mlprune.capabilities.publishing import apply_published as loader
from mlprune.capabilities.publishing.apply import apply_published
from mlprune.errors import BadInputError, MlpruneError, ModelError, PermanentError, StoreError
from tests.imported_files import without_packages
from tests.mlprune.capabilities.publishing.publications import publish, weights_of
from tests.refusals import refused
from tests.tiny_recipes import FinishedRun

LAYER = "model.layers.1.fc1.weight"
BIAS, EMBEDDING = "model.layer_norm.bias", "model.embed_tokens.weight"
Change = Callable[[dict[str, Tensor]], object]


@pytest.fixture(scope="module")
def published(small_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared") / "published"
    publish(small_run.store, [small_run.named("ordering")[0].id], small_run.folder / "model", folder)
    return folder


def changed_copy(folder: Path, target: Path, change: Change, *, file: str) -> Path:
    """A copy of a folder in which the tensors of a file are changed."""
    shutil.copytree(folder, target)
    tensors = load_file(folder / file)
    change(tensors)
    save_file(tensors, target / file, metadata={"format": "pt"})
    return target


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda tensors: tensors[LAYER].add_(1), LAYER),
        (lambda tensors: tensors[BIAS].add_(1), BIAS),
        (lambda tensors: tensors[EMBEDDING].add_(1), EMBEDDING),
        (lambda tensors: tensors.update({LAYER: tensors[LAYER].double()}), LAYER),
        (lambda tensors: tensors.update({LAYER: tensors[LAYER].flatten()}), LAYER),
        (lambda tensors: tensors.pop(LAYER), LAYER),
        (lambda tensors: tensors.update(other=tensors.pop(LAYER)), "other"),
    ],
)
def test_another_base_model_is_refused_by_the_name_of_the_tensor(
    small_run: FinishedRun, published: Path, tmp_path: Path, change: Change, name: str
) -> None:
    base = changed_copy(small_run.folder / "model", tmp_path / "base", change, file="model.safetensors")
    with pytest.raises(BadInputError, match=name):
        apply_published(str(base), published, tmp_path / "out")
    with pytest.raises(ValueError, match=name):
        loader.write(base, tmp_path / "out", published)
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_another_config_or_tokenizer_is_refused(
    small_run: FinishedRun, published: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(small_run.folder / "model", tmp_path / "base")
    value = json.loads((tmp_path / "base" / name).read_text())
    (tmp_path / "base" / name).write_text(json.dumps({**value, "other": 1}))
    with pytest.raises(BadInputError, match=name):
        apply_published(str(tmp_path / "base"), published, tmp_path / "out")
    (tmp_path / "base" / name).unlink()
    with pytest.raises(BadInputError, match=name):
        apply_published(str(tmp_path / "base"), published, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors[LAYER][:1].bitwise_xor_(1),
        lambda tensors: tensors.update({LAYER: tensors[LAYER][:-1]}),
        lambda tensors: tensors.pop(LAYER),
        lambda tensors: tensors.update({name: torch.tensor(1, dtype=torch.uint8) for name in tensors}),
    ],
)
def test_damaged_masks_are_refused(small_run: FinishedRun, published: Path, tmp_path: Path, change: Change) -> None:
    damaged = changed_copy(published, tmp_path / "damaged", change, file="masks.safetensors")
    with pytest.raises(BadInputError) as caught:
        apply_published(str(small_run.folder / "model"), damaged, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(format="mlprune-published/2"),
        lambda manifest: manifest["base_model"]["files"].update({"../secret": "0" * 64}),
        lambda manifest: manifest.pop("tensors"),
        lambda manifest: manifest["tensors"].update({LAYER: 3}),
    ],
)
def test_a_manifest_with_another_content_is_refused(
    small_run: FinishedRun, published: Path, tmp_path: Path, change: Callable[[Any], None]
) -> None:
    shutil.copytree(published, tmp_path / "wrong")
    manifest = json.loads((published / "published.json").read_text())
    change(manifest)
    (tmp_path / "wrong" / "published.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInputError, match=r"published\.json"):
        apply_published(str(small_run.folder / "model"), tmp_path / "wrong", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["wrong"]


def test_the_folder_of_several_variants_is_refused_with_their_names(small_run: FinishedRun, tmp_path: Path) -> None:
    ids = [variant.id for variant in small_run.named("ordering")]
    publish(small_run.store, ids, small_run.folder / "model", tmp_path / "several")
    with pytest.raises(BadInputError, match=ids[1]):
        apply_published(str(small_run.folder / "model"), tmp_path / "several", tmp_path / "out")
    apply_published(str(small_run.folder / "model"), tmp_path / "several" / ids[1], tmp_path / "out")


def test_places_that_do_not_exist_or_are_not_empty_are_refused(
    small_run: FinishedRun, published: Path, tmp_path: Path
) -> None:
    base = str(small_run.folder / "model")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    cases: list[tuple[str, Path, Path, type[MlpruneError]]] = [
        (base, published, tmp_path / "full", StoreError),
        (base, tmp_path / "empty", tmp_path / "out", BadInputError),
        (str(tmp_path / "nowhere"), published, tmp_path / "out", ModelError),
        (str(tmp_path / "empty"), published, tmp_path / "out", ModelError),
    ]
    for base_folder, folder, out, error in cases:
        with pytest.raises(error) as caught:
            apply_published(base_folder, folder, out)
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full"]
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_a_file_that_was_not_written_as_computed_is_noticed(
    small_run: FinishedRun, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(base: Path, out: Path, folder: Path) -> None:
        loader.write(base, out, folder)
        data = bytearray((out / "model.safetensors").read_bytes())
        data[-1] ^= 1
        (out / "model.safetensors").write_bytes(data)

    monkeypatch.setattr(applying, "write", write)
    with pytest.raises(PermanentError):
        apply_published(str(small_run.folder / "model"), published, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_tensors_load_into_a_model_without_a_folder_for_it(small_run: FinishedRun, published: Path) -> None:
    base = small_run.folder / "model"
    tensors = loader.load(base, published)
    variant = small_run.named("ordering")[0]
    for (block, layer), kept in small_run.keep_masks(variant.id).items():
        name = f"model.layers.{block}.{layer}.weight"
        assert torch.equal(tensors[name], load_file(base / "model.safetensors")[name].masked_fill(~kept, 0))
    model = XGLMForCausalLM.from_pretrained(None, config=AutoConfig.from_pretrained(base), state_dict=tensors)
    assert torch.equal(model.get_parameter(LAYER), tensors[LAYER])


def test_the_published_loader_runs_without_mlprune_ray_duckdb_and_transformers(
    small_run: FinishedRun, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = small_run.folder / "model"
    script = str(published / "apply_published.py")
    monkeypatch.setattr(sys, "argv", [script, str(base), str(tmp_path / "out")])
    with without_packages({"ray", "duckdb", "transformers", "mlprune", "catalog", "ray_jobs"}):
        runpy.run_path(script, run_name="__main__")
    apply_published(str(base), published, tmp_path / "applied")
    assert weights_of(tmp_path / "out") == weights_of(tmp_path / "applied")
    others = {path.name for path in (tmp_path / "applied").iterdir()} - {"tensor_hashes.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == others


def test_the_loader_is_short_and_imports_torch_and_safetensors_only() -> None:
    source = Path(loader.__file__).read_text("utf-8")
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) == {"torch", "safetensors"}
    assert len(source.splitlines()) < 80


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("published.json", "pipe"),
        ("README.md", "folder"),
        ("masks.safetensors", "link"),
        ("changed.safetensors", "pipe"),
        ("published.json", "folder"),
        ("README.md", "link"),
    ],
)
def test_what_is_no_file_of_the_published_folder_is_named(
    small_run: FinishedRun, published: Path, tmp_path: Path, name: str, kind: str
) -> None:
    folder, out = tmp_path / "copy", tmp_path / "out"
    shutil.copytree(published, folder)
    replace(folder / name, kind)
    with refused(BadInputError, path=str(folder / name)):
        apply_published(str(small_run.folder / "model"), folder, out)
    assert not out.exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "other.txt"])
def test_a_pipe_in_the_base_model_is_named(small_run: FinishedRun, published: Path, tmp_path: Path, name: str) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    shutil.copytree(small_run.folder / "model", base)
    replace(base / name, "pipe")
    with refused(BadInputError, path=str(base / name)):
        apply_published(str(base), published, out)
    assert not out.exists()


def replace(path: Path, kind: str) -> None:
    """Put something else in place of a file."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/etc/hostname")
