"""`mlprune import`: from a published folder to a pruned variant in two commands."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from catalog.store import Catalog
from mlprune.store.store import Store
from tests.forked_runs import mlprune
from tests.published_models import publish, published_tensors
from tests.tiny_recipes import copied_inputs, small_recipe, write_recipe


class Calls:
    """An object whose pickle calls a function."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


def test_import_and_run_lead_from_a_published_folder_to_a_variant(tiny_inputs: Path, tmp_path: Path) -> None:
    folder = copied_inputs(tiny_inputs, tmp_path / "inputs")
    tensors = published_tensors(folder / "model", "xglm", has_buffers=True, has_head=True)
    publish(
        folder / "published", folder / "model", {name: tensor.half() for name, tensor in tensors.items()}, n_files=2
    )
    (folder / "model" / "model.safetensors").unlink()
    recipe = write_recipe(folder, {**small_recipe(), "model": {"path": "./imported"}})

    imported = mlprune("import", "./published", "./imported", cwd=folder)
    assert imported.returncode == 0, imported.stderr
    assert "100 %" in imported.stderr
    assert "peak memory" in imported.stdout
    assert "model.embed_positions.weights" in imported.stdout
    assert f"model: {{path: {folder / 'imported'}}}" in imported.stdout
    again = mlprune("import", "./published", "./imported", cwd=folder)
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "already imported: imported")

    run = mlprune("run", recipe, "--store", tmp_path / "store", "--address", "none")
    assert run.returncode == 0, run.stderr
    with Catalog.open(Store(str(tmp_path / "store"))) as catalog:
        (row,) = catalog.query("SELECT imported_from, imported_revision, import_sources FROM base_models")
    assert (row["imported_from"], row["imported_revision"]) == ("published", None)
    assert "pytorch_model-00002-of-00002.bin" in str(row["import_sources"])


def test_a_malicious_pickle_is_one_line_with_the_name_it_asked_for(tiny_inputs: Path, tmp_path: Path) -> None:
    tensors = published_tensors(tiny_inputs / "model", "xglm")
    publish(tmp_path / "source", tiny_inputs / "model", tensors, n_files=3)
    torch.save({"model.layer_norm.weight": Calls()}, tmp_path / "source" / "pytorch_model-00003-of-00003.bin")
    done = mlprune("import", "source", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "os.system" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    assert not list(tmp_path.rglob("ran"))


def test_a_source_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    for arguments in (("./nowhere", "out"), (tmp_path / "nowhere", "out"), ("./nowhere", "out", "--dtype", "int8")):
        done = mlprune("import", *arguments, cwd=tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


def test_a_hub_that_cannot_be_reached_is_found_before_libraries_are_imported(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from ray_jobs.cli.application import app\n"
        "try:\n    app(['import', 'some/model', 'out'], standalone_mode=False)\n"
        "except Exception as err:\n    print(type(err).__name__, 'torch' in sys.modules)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "HubError False\n"
