"""Biases that are fitted with the weights: stored, exported, recomputed with the model library, killed and resumed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.publishing.export import export_variant
from mlprune.pruning.mask_files import read_block_weights
from mlprune.steps.rescore.verify import Recheck
from mlprune.steps.variants.variant_rows import require_masks
from mlprune.vocabulary import DtypeName
from tests.expert_models import save_expert_model
from tests.exported_models import loaded_by_its_own_loader
from tests.mlprune.capabilities.reconstruction.test_reconstruct import (
    assert_equal_on_shards,
    assert_resumes_after_a_kill,
    job_of,
    rows_of,
    squares,
    states_after,
)
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import (
    FinishedRun,
    finished_run,
    reference_model,
    small_recipe,
    write_inputs,
    write_texts,
)

FIT = {"steps": 12, "learning_rate": 1.5, "batch": 2}
BIASES = {**FIT, "biases": True}
WANDA = {"demonstrations": "mt", "propagation": "dense", "score": "wanda", "sparsity": 0.5}
FLAP = {**WANDA, "score": "flap"}
ENTRIES: dict[str, dict[str, Any]] = {
    "weights": {**WANDA, "reconstruct": FIT},
    "without": {**WANDA, "reconstruct": {**FIT, "biases": False}},
    "biases": {**WANDA, "reconstruct": BIASES},
    "units": {**FLAP, "reconstruct": BIASES},
}
TOKENS = torch.tensor([[5, 9, 200, 31, 77, 12, 150]])


def run_of(folder: Path, *names: str, dtype: DtypeName = "float32") -> FinishedRun:
    recipe = {**small_recipe(), "evaluations": []}
    recipe["model"] = {**recipe["model"], "dtype": dtype}
    recipe["variants"] = [{"name": name, **ENTRIES[name]} for name in names]
    return finished_run(folder, recipe, name=f"biases-{dtype}")


@pytest.fixture(scope="module")
def float32_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return run_of(write_inputs(tmp_path_factory.mktemp("float32")), *ENTRIES)


@pytest.fixture(scope="module")
def bfloat16_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return run_of(write_inputs(tmp_path_factory.mktemp("bfloat16")), "biases", dtype="bfloat16")


@pytest.fixture(scope="module")
def llama_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A model without biases, to which FLAP adds some."""
    folder = write_inputs(tmp_path_factory.mktemp("llama"))
    save_tiny_model(folder / "model", "llama", attention_bias=False, num_key_value_heads=2)
    return run_of(folder, "weights", "biases", "units")


@pytest.fixture(scope="module")
def experts_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("experts")
    save_expert_model(folder / "model", "gpt_oss")
    write_texts(folder)
    return run_of(folder, "biases")


def biases_of(run: FinishedRun, variant_id: str) -> dict[tuple[int, str], Tensor]:
    files = [read_block_weights(run.store, file) for file in require_masks(run.store, variant_id).biases]
    return {(block, layer): bias for block, of_block in enumerate(files) for layer, bias in of_block.items()}


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(
    ("run_name", "name"),
    [
        ("float32_run", "biases"),
        ("float32_run", "units"),
        ("bfloat16_run", "biases"),
        ("llama_run", "units"),
        ("experts_run", "biases"),
    ],
)
def test_losses_are_those_of_the_exported_model(
    request: pytest.FixtureRequest, tmp_path: Path, run_name: str, name: str
) -> None:
    run: FinishedRun = request.getfixturevalue(run_name)
    job, base = job_of(run, name), run.folder / "model"
    export_variant(run.store, job.variant.id, base, tmp_path / "out")
    is_half = run_name == "bfloat16_run"
    dtype = torch.bfloat16 if is_half else torch.float32
    models = [AutoModelForCausalLM.from_pretrained(path, dtype=dtype).eval() for path in (base, tmp_path / "out")]
    table = run.store.read_table(run.store.require("demonstration_sets", job.variant.set_ids[0]).artefacts[0])
    for row in rows_of(run, job):
        states = [[states_after(model, row["block"], list(ids)) for ids in table["token_ids"]] for model in models]
        difference, square = (sum(map(float, sums)) for sums in zip(*map(squares, *states), strict=True))
        assert row["loss_after"] == pytest.approx(difference / square, rel=1e-2 if is_half else 1e-4)
        assert row["loss_after"] < row["loss_before"]
    record = run.store.require("variants", job.variant.id)
    assert Recheck(run.store, lambda _: base).contradictions(record) == []
    assert {bias.dtype for bias in biases_of(run, job.variant.id).values()} == {dtype}


def test_all_biases_change_and_the_catalog_says_so(float32_run: FinishedRun) -> None:
    job = job_of(float32_run, "biases")
    biases, model = biases_of(float32_run, job.variant.id), reference_model(float32_run.folder / "model")
    assert set(biases) == set(float32_run.keep_masks(job.variant.id))
    for (block, layer), bias in biases.items():
        if not layer.endswith("k_proj"):  # a constant in all keys changes no attention
            assert not torch.equal(bias, model.model.layers[block].get_submodule(layer).bias)
    row = float32_run.row("variants", job.variant.id)
    assert row["biases_changed"]
    assert row["reconstruction"] == {"unit": "block", "steps": 12, "learning_rate": 1.5, "batch": 2, "biases": True}
    assert "biases_changed" not in float32_run.row("variants", job_of(float32_run, "weights").variant.id)


def test_biases_stay_by_default_and_the_default_is_not_part_of_the_id(float32_run: FinishedRun) -> None:
    job = job_of(float32_run, "weights")
    assert [one.id for one in float32_run.named("without")] == [job.variant.id]
    assert biases_of(float32_run, job.variant.id) == {}


@pytest.mark.parametrize("run_name", ["float32_run", "llama_run"])
def test_biases_that_the_parent_changed_are_fitted(request: pytest.FixtureRequest, run_name: str) -> None:
    run: FinishedRun = request.getfixturevalue(run_name)
    job = job_of(run, "units")
    own, of_parent = (biases_of(run, one) for one in (job.variant.id, job.variant.parent.id))
    assert set(own) > set(of_parent) if run_name == "float32_run" else set(own) == set(of_parent)
    assert of_parent
    assert not any(torch.equal(own[key], bias) for key, bias in of_parent.items() if bias.any())


def test_layers_without_a_bias_get_none_and_losses_are_those_of_the_weights_alone(llama_run: FinishedRun) -> None:
    alone, both = job_of(llama_run, "weights"), job_of(llama_run, "biases")
    assert biases_of(llama_run, both.variant.id) == {}
    assert "biases_changed" not in llama_run.row("variants", both.variant.id)
    rows = [[{**row, "variant_id": None} for row in rows_of(llama_run, job)] for job in (alone, both)]
    assert rows[0] == rows[1]


def test_units_can_be_cut_out_after_their_biases_were_fitted(float32_run: FinishedRun, tmp_path: Path) -> None:
    variant, base = job_of(float32_run, "units").variant, float32_run.folder / "model"
    masked = load_masked_model(float32_run.store, variant.id, base)
    export_variant(float32_run.store, variant.id, base, tmp_path / "smaller", smaller=True)
    smaller = loaded_by_its_own_loader(tmp_path / "smaller")
    with torch.no_grad():
        torch.testing.assert_close(smaller(TOKENS).logits, masked(TOKENS).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ["biases", "units"])
def test_a_killed_job_resumes_with_equal_bytes(float32_run: FinishedRun, tmp_path: Path, name: str) -> None:
    assert_resumes_after_a_kill(float32_run, job_of(float32_run, name), tmp_path / "store", files_are_written=True)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("name", "n_shards", "n_threads"), [("biases", 1, 2), ("units", 2, 1)])
def test_shards_and_threads_change_no_byte(
    float32_run: FinishedRun, tmp_path: Path, name: str, n_shards: int, n_threads: int
) -> None:
    job = job_of(float32_run, name)
    assert_equal_on_shards(float32_run, job, tmp_path / "store", n_shards=n_shards, n_threads=n_threads)
