"""Patches between variants, applied with a few lines of torch, give exports byte by byte."""

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.publishing.patches import INDEX, export_patches
from mlprune.errors import BadInputError
from tests.forked_runs import mlprune
from tests.refusals import refused
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe, write_inputs

WANDA = {"score": "wanda", "demonstrations": "mt", "propagation": "dense"}
VARIANTS: list[dict[str, Any]] = [
    {"name": "half", **WANDA, "sparsity": 0.5},
    {"name": "two-four", **WANDA, "structure": "2:4"},
    {"name": "changed", **WANDA, "score": "sparsegpt", "sparsity": 0.5},
    {"name": "rounded", **WANDA, "sparsity": 0.5, "bits": 8},
    {"name": "blocks", "score": "given", "structure": "blocks", "scope": {"blocks": [1]}},
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("patches")
    write_inputs(folder)
    return finished_run(folder, {**small_recipe(), "variants": VARIANTS, "evaluations": []}, name="patches")


def id_of(run: FinishedRun, name: str) -> str:
    """The id of a variant, or of the dense one."""
    if name == "dense":
        return next(one.id for one in run.plan.variants.values() if one.is_dense)
    return run.named(name)[0].id


def applied(tensors: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Tensors after the patches of a folder, with nothing but torch and safetensors."""
    result = {name: tensor.clone() for name, tensor in tensors.items()}
    for file in json.loads((folder / INDEX).read_text())["files"]:
        patches = load_file(folder / file)
        for key in patches:
            if key.endswith(".indices"):
                name = key.removesuffix(".indices")
                result[name].view(-1)[patches[key].long()] = patches[f"{name}.values"]
    return result


def exported(run: FinishedRun, name: str, out: Path) -> dict[str, Tensor]:
    """The tensors of the export of a variant."""
    export_variant(run.store, id_of(run, name), run.folder / "model", out)
    return load_file(out / "model.safetensors")


def same_bytes(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether tensors are equal byte by byte."""
    return first.keys() == second.keys() and all(
        torch.equal(tensor.view(torch.uint8), second[name].view(torch.uint8)) for name, tensor in first.items()
    )


@pytest.mark.thorough("exports and loads models")
@pytest.mark.parametrize("chunk_bytes", [1, 2**28])
def test_patches_lead_from_dense_over_all_variants_back_to_dense(
    chunk_bytes: int, run: FinishedRun, tmp_path: Path
) -> None:
    names = ("dense", "half", "two-four", "changed", "rounded", "dense")
    tensors = exported(run, "dense", tmp_path / "start")
    for number, (before, after) in enumerate(itertools.pairwise(names)):
        out = tmp_path / f"patches-{number}"
        ids = [id_of(run, name) for name in (before, after)]
        n_values = export_patches(run.store, ids, run.folder / "model", out, chunk_bytes=chunk_bytes)
        tensors = applied(tensors, out)
        assert same_bytes(tensors, exported(run, after, tmp_path / f"export-{number}"))
        index = json.loads((out / INDEX).read_text())
        assert n_values == sum(entry["n_values"] for entry in index["tensors"].values())
        assert (len(index["files"]) > 1) == (chunk_bytes == 1)


def test_the_index_has_hashes_of_files_and_of_tensors_before_and_after(run: FinishedRun, tmp_path: Path) -> None:
    ids = [id_of(run, name) for name in ("dense", "half")]
    export_patches(run.store, ids, run.folder / "model", tmp_path / "out")
    index = json.loads((tmp_path / "out" / INDEX).read_text())
    assert [index["from"], index["to"]] == ids
    dense, half = load_file(run.folder / "model" / "model.safetensors"), exported(run, "half", tmp_path / "half")
    for file, sha256 in index["files"].items():
        assert hashlib.sha256((tmp_path / "out" / file).read_bytes()).hexdigest() == sha256
    for name, entry in index["tensors"].items():
        for tensors, key in ((dense, "sha256_before"), (half, "sha256_after")):
            assert hashlib.sha256(tensors[name].numpy().tobytes()).hexdigest() == entry[key]
        with safe_open(str(tmp_path / "out" / entry["file"]), framework="pt") as file:
            indices, values = file.get_tensor(f"{name}.indices"), file.get_tensor(f"{name}.values")
        assert (indices.dtype, values.dtype, len(values)) == (torch.int32, dense[name].dtype, entry["n_values"])
        assert bool((indices.diff() > 0).all())
        assert list(dense[name].shape) == entry["shape"]


def test_variants_that_patches_cannot_express_are_refused(run: FinishedRun, tmp_path: Path) -> None:
    def patches(*names: str) -> Callable[[], int]:
        ids = [id_of(run, name) for name in names]
        return lambda: export_patches(run.store, ids, run.folder / "model", tmp_path / "out")

    with refused(BadInputError, variant_id=id_of(run, "blocks")):
        patches("dense", "blocks")()
    with refused(BadInputError, got=id_of(run, "half")):
        patches("half", "half")()
    assert not (tmp_path / "out").exists()


@pytest.mark.thorough("exports and loads models")
def test_the_command_writes_patches_by_names(run: FinishedRun, tmp_path: Path) -> None:
    options = ("--store", run.store.uri, "--base-model", run.folder / "model")
    done = mlprune("export", "--as", "patches", "--from", "dense", "--to", "half", "--out", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    tensors = applied(load_file(run.folder / "model" / "model.safetensors"), tmp_path / "out")
    assert same_bytes(tensors, exported(run, "half", tmp_path / "half"))
    wrong = mlprune("export", "--as", "patches", "--from", "half", "--to", "half", "--out", tmp_path / "no", *options)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1), wrong.stderr
