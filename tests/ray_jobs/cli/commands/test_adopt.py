"""`mlprune import PRUNED --base BASE`: a pruned checkpoint becomes a variant of a store."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mlprune.store.store import Store
from tests.forked_runs import mlprune
from tests.tiny_recipes import copied_inputs, small_recipe, write_recipe

pytestmark = pytest.mark.thorough("runs commands that start or finish runs")


@pytest.fixture
def folder(tiny_inputs: Path, tmp_path: Path) -> Path:
    """Inputs with a checkpoint of which every second input of one layer is zero."""
    folder = copied_inputs(tiny_inputs, tmp_path / "inputs")
    shutil.copytree(folder / "model", folder / "pruned")
    change(folder / "pruned", "model.layers.1.fc1.weight")
    return folder


def change(model: Path, name: str) -> None:
    """Set every second column of a tensor to zero."""
    tensors = load_file(model / "model.safetensors")
    tensors[name][:, ::2] = 0
    save_file(tensors, model / "model.safetensors")


def test_a_pruned_checkpoint_becomes_a_variant_that_is_exported_and_evaluated(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    done = mlprune("import", "./pruned", "--base", "./model", "--store", store, "--name", "theirs", cwd=folder)
    assert done.returncode == 0, done.stderr
    (variant_id,) = (word for word in done.stdout.splitlines()[0].split() if len(word) == 20)
    assert Store(str(store)).require("variants", variant_id).contents["config.json"]
    again = mlprune("import", "./pruned", "--base", "./model", "--store", store, "--name", "theirs", cwd=folder)
    assert (again.returncode, variant_id in again.stdout) == (0, True)

    exported = mlprune("export", "theirs", "--store", store, "--out", tmp_path / "out")
    assert exported.returncode == 0, exported.stderr
    tensors = [load_file(path / "model.safetensors") for path in (folder / "pruned", tmp_path / "out")]
    assert all(torch.equal(tensor, tensors[1][name]) for name, tensor in tensors[0].items())

    variants = [{"name": "theirs", "adopt": "./pruned"}, {"score": "magnitude", "sparsity": 0.5}]
    recipe = write_recipe(folder, {**small_recipe(), "demonstrations": [], "variants": variants})
    planned = mlprune("plan", recipe, "--store", store)
    assert planned.returncode == 0, planned.stderr
    run = mlprune("run", recipe, "--store", store, "--address", "none")
    assert run.returncode == 0, run.stderr
    checked = mlprune("check", "store", "--store", store)
    assert checked.returncode == 0, checked.stdout
    rows = mlprune("query", f"SELECT count(*) AS n FROM metrics WHERE variant_id = '{variant_id}'", "--store", store)
    assert "0" not in rows.stdout.split()


def test_wrong_checkpoints_and_options_are_one_line(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    change(folder / "pruned", "model.embed_tokens.weight")
    adopt = ("import", "./pruned", "--base", "./model")
    wrong = (
        (*adopt, "--store", store),
        adopt,
        ("import", "./nowhere", "--base", "./model", "--store", store),
        ("import", "./pruned", "--base", "./nowhere", "--store", store),
        ("import", "./pruned", "--name", "theirs", "--out", "out"),
        ("import", "./pruned"),
    )
    for arguments in wrong:
        done = mlprune(*arguments, cwd=folder)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), (arguments, done.stderr)
    imported = mlprune(*adopt, "--store", store, "--out", "out", cwd=folder)
    assert (imported.returncode, imported.stderr.splitlines()[-1].startswith("mlprune: ")) == (2, True)
    assert not store.exists()
