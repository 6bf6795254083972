"""FLAP from recipe to export: the chosen units against plain loops, masks, biases, rows, and smaller folders."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.publishing.publish import Publication, publish_variants
from mlprune.capabilities.units.unit_masks import RemovedUnits, UnitModel, chosen_units, new_biases
from mlprune.errors import BadInputError, RecipeError, StatisticsError
from mlprune.methods import FlapParameters
from mlprune.models.architecture.architecture import Architecture, oriented
from mlprune.models.architecture.units import LOADER_FILE
from mlprune.numeric.weights.layer_inputs import FeatureMoments
from mlprune.pruning.spec import ScoreSpec
from mlprune.steps.evaluate.model_evaluation import apply_variant
from mlprune.steps.job import ModelRef
from mlprune.steps.prune.result_warnings import variant_warnings
from mlprune.steps.rescore.verify import verify_variant
from tests.exported_models import loaded_by_its_own_loader
from tests.imported_files import without_packages
from tests.method_reference import demonstrations
from tests.tiny_models import ARCHITECTURES, save_tiny_model
from tests.tiny_recipes import (
    FinishedRun,
    chain_of,
    copied_inputs,
    finished_run,
    layer_inputs,
    plan_of,
    reference_model,
    small_recipe,
    write_recipe,
    write_texts,
)

TOKENS = torch.tensor([[5, 9, 200, 31, 77, 12, 150]])
OUTPUTS = ("self_attn.out_proj", "fc2")
LLAMA_OUTPUTS = ("self_attn.o_proj", "mlp.down_proj")
HEADS, NEURONS, HIDDEN, BLOCKS = 2, 64, 16, 3
UNIT_WEIGHTS = {"self_attn.out_proj": 4 * HIDDEN * HIDDEN // HEADS, "fc2": 2 * HIDDEN}


def flap_recipe() -> dict[str, Any]:
    """FLAP with one threshold, with equal widths, and without compensation."""
    recipe = small_recipe()
    flap = {"score": "flap", "demonstrations": "mt", "propagation": "dense"}
    recipe["variants"] = [
        {"name": "one", **flap, "sparsity": [0.1, 0.4], "head_power": 1},
        {"name": "equal", **flap, "sparsity": 0.4, "equal_widths": True},
        {"name": "alone", **flap, "sparsity": 0.4, "head_power": 1, "compensate": False},
    ]
    recipe["evaluations"] = [{"task": "facts", "path": "facts", "languages": ["en"], "variants": ["one"]}]
    return recipe


@pytest.fixture(scope="module")
def flap_run(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return finished_run(copied_inputs(tiny_inputs, tmp_path_factory.mktemp("flap")), flap_recipe(), name="flap")


def expected_units(folder: Path, *, sparsity: float, power: float) -> dict[tuple[int, str], set[int]]:
    """(block, output layer) -> removed units, from the texts and the formula alone."""
    model = reference_model(folder / "model")
    inputs: dict[tuple[int, str], list[Tensor]] = {}
    for ids, _, _ in demonstrations(folder, "fr-en", paper=False):
        for key, rows in layer_inputs(model, ids, layers=OUTPUTS).items():
            inputs.setdefault(key, []).append(rows.double())
    scores: list[tuple[float, int, str, int]] = []
    for (block, layer), rows in inputs.items():
        x = torch.cat(rows).numpy()
        weight = model.model.layers[block].get_submodule(layer).weight.double().detach().numpy()
        features = []
        for j in range(weight.shape[1]):
            mean = sum(x[:, j]) / len(x)
            features.append(sum((x[:, j] - mean) ** 2) / len(x) * sum(weight[:, j] ** 2))
        powers = np.array(features) ** (power if layer == OUTPUTS[0] else 1.0)
        z = (powers - powers.mean()) / powers.std(ddof=1)
        n_units = HEADS if layer == OUTPUTS[0] else NEURONS
        units = z.reshape(n_units, -1).mean(axis=1)
        kept = int(units.argmax())
        scores += [(float(score), block, layer, unit) for unit, score in enumerate(units) if unit != kept]
    scores.sort()
    totals = np.cumsum([0, *(UNIT_WEIGHTS[layer] for _, _, layer, _ in scores)])
    target = sparsity * BLOCKS * (4 * HIDDEN**2 + 2 * HIDDEN * NEURONS)
    n_removed = int(np.abs(totals - target).argmin())
    removed: dict[tuple[int, str], set[int]] = {key: set() for key in inputs}
    for _, block, layer, unit in scores[:n_removed]:
        removed[block, layer].add(unit)
    return removed


@pytest.mark.parametrize("sparsity", [0.1, 0.4])
def test_the_removed_units_are_those_of_the_formula(flap_run: FinishedRun, sparsity: float) -> None:
    (variant,) = (one for one in flap_run.named("one") if one.spec.sparsity == sparsity)
    masks = flap_run.keep_masks(variant.id)
    for (block, layer), units in expected_units(flap_run.folder, sparsity=sparsity, power=1).items():
        n_units = HEADS if layer == OUTPUTS[0] else NEURONS
        kept = masks[block, layer].any(dim=0).reshape(n_units, -1)
        assert {unit for unit in range(n_units) if not kept[unit].any()} == units
        before = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj") if layer == OUTPUTS[0] else ("fc1",)
        for name in before:
            assert torch.equal(masks[block, name].all(dim=1), kept.flatten())
            assert torch.equal(masks[block, name].any(dim=1), kept.flatten())


def test_rows_count_the_units_and_the_weights(flap_run: FinishedRun) -> None:
    n_weights = BLOCKS * (4 * HIDDEN**2 + 2 * HIDDEN * NEURONS)
    for variant in (*flap_run.named("one"), *flap_run.named("equal")):
        rows = flap_run.store.require("variants", variant.id).rows
        units = rows["pruned_units"]
        assert [(row["block"], row["kind"], row["n_units"]) for row in units] == [
            (block, kind, n) for block in range(BLOCKS) for kind, n in (("heads", HEADS), ("neurons", NEURONS))
        ]
        removed = sum(
            row["n_removed"] * UNIT_WEIGHTS[OUTPUTS[0] if row["kind"] == "heads" else OUTPUTS[1]] for row in units
        )
        assert removed == sum(row["n_removed"] for row in rows["variant_layers"])
        assert rows["variants"][0]["achieved_sparsity"] == pytest.approx(removed / n_weights)
        assert rows["variants"][0]["structure"] == "units"
        assert rows["variants"][0]["biases_changed"] is True
    (equal,) = flap_run.named("equal")
    units = flap_run.store.require("variants", equal.id).rows["pruned_units"]
    assert all(len({row["n_removed"] for row in units if row["kind"] == kind}) == 1 for kind in ("heads", "neurons"))
    (alone,) = flap_run.named("alone")
    assert "biases_changed" not in flap_run.row("variants", alone.id)


@pytest.mark.parametrize(("run_name", "outputs"), [("flap_run", OUTPUTS), ("llama_run", LLAMA_OUTPUTS)])
def test_biases_contain_the_means_of_removed_inputs_and_come_back(
    request: pytest.FixtureRequest, run_name: str, outputs: tuple[str, ...]
) -> None:
    """Layers without biases get them, and lose them again."""
    run: FinishedRun = request.getfixturevalue(run_name)
    (variant,) = (one for one in run.named("one") if one.spec.sparsity == 0.4)
    assert run.row("variants", variant.id)["biases_changed"] is True
    model = reference_model(run.folder / "model")
    rows: dict[tuple[int, str], list[Tensor]] = {}
    for ids, _, _ in demonstrations(run.folder, "fr-en", paper=False):
        for key, inputs in layer_inputs(model, ids, layers=outputs).items():
            rows.setdefault(key, []).append(inputs.double())
    masks, chain = run.keep_masks(variant.id), chain_of(run.plan)
    modules: Any = chain.shards[0].runner.modules  # type: ignore[attr-defined]
    apply_variant(chain, run.store, variant.id)
    n_changed = 0
    for (block, layer), inputs_of in rows.items():
        dense = model.model.layers[block].get_submodule(layer)
        removed = ~masks[block, layer].any(dim=0)
        added = dense.weight.double()[:, removed] @ torch.cat(inputs_of).mean(dim=0)[removed]
        got = modules[block].get_submodule(layer).bias
        if dense.bias is None and not removed.any():
            assert got is None
        else:
            expected = added if dense.bias is None else dense.bias.double() + added
            torch.testing.assert_close(got.double(), expected.detach(), rtol=1e-5, atol=1e-6)
        n_changed += int(bool(removed.any()))
    assert n_changed >= BLOCKS
    apply_variant(chain, run.store, next(iter(run.plan.variants)))
    for block, layer in rows:
        restored, dense = modules[block].get_submodule(layer), model.model.layers[block].get_submodule(layer)
        assert restored.bias is dense.bias is None or torch.equal(restored.bias, dense.bias)
        assert torch.equal(restored.weight, dense.weight)


@torch.no_grad()
def logits(model: Any) -> Tensor:
    found: Tensor = model(TOKENS).logits
    return found


def assert_same_logits(smaller: Path, whole: Any) -> None:
    has_loader = (smaller / LOADER_FILE).exists()
    load = loaded_by_its_own_loader if has_loader else AutoModelForCausalLM.from_pretrained
    torch.testing.assert_close(logits(load(smaller)), logits(whole), rtol=1e-5, atol=1e-5)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ["one", "alone"])
def test_an_export_has_the_biases_and_a_smaller_one_the_same_logits(
    flap_run: FinishedRun, name: str, tmp_path: Path
) -> None:
    variant, base = flap_run.named(name)[-1], flap_run.folder / "model"
    export_variant(flap_run.store, variant.id, base, tmp_path / "whole")
    export_variant(flap_run.store, variant.id, base, tmp_path / "smaller", smaller=True)
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    masks, dense = flap_run.keep_masks(variant.id), copy.deepcopy(reference_model(base))
    with torch.no_grad():
        for (block, layer), mask in masks.items():
            dense.model.layers[block].get_submodule(layer).weight.mul_(mask)
    changed = {key for key, bias in dense.named_parameters() if not torch.equal(bias, whole.get_parameter(key))}
    assert bool(changed) == (name != "alone")
    assert all(key.endswith(("out_proj.bias", "fc2.bias")) for key in changed)
    assert_same_logits(tmp_path / "smaller", whole)
    sizes = [(tmp_path / folder / "model.safetensors").stat().st_size for folder in ("whole", "smaller")]
    assert sizes[1] < sizes[0]
    card = (tmp_path / "smaller" / "README.md").read_text("utf-8")
    assert "2312.11983" in card
    assert "Smaller model" in card


@pytest.mark.thorough("runs a model for every case")
def test_both_kinds_of_smaller_exports_load_where_mlprune_cannot_be_imported(
    flap_run: FinishedRun, tmp_path: Path
) -> None:
    for name in ("equal", "one"):
        variant_id, base = flap_run.named(name)[-1].id, flap_run.folder / "model"
        export_variant(flap_run.store, variant_id, base, tmp_path / f"{name} whole")
        export_variant(flap_run.store, variant_id, base, tmp_path / name, smaller=True)
    assert [(tmp_path / name / LOADER_FILE).exists() for name in ("equal", "one")] == [False, True]
    with without_packages({"mlprune", "catalog", "ray_jobs"}):
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / "equal")
        unequal = loaded_by_its_own_loader(tmp_path / "one")
    for name, model in (("equal", plain), ("one", unequal)):
        whole = AutoModelForCausalLM.from_pretrained(tmp_path / f"{name} whole")
        assert model.num_parameters() < whole.num_parameters()
        torch.testing.assert_close(logits(model), logits(whole), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["one", "equal", "alone"])
def test_the_masks_are_rebuilt_from_the_store(flap_run: FinishedRun, name: str) -> None:
    for variant in flap_run.named(name):
        record = flap_run.store.require("variants", variant.id)
        assert verify_variant(flap_run.store, record, flap_run.folder / "model").is_equal


def test_the_zero_share_is_the_dense_model_and_costs_are_planned(flap_run: FinishedRun) -> None:
    assert flap_run.store.records("evaluations")
    recipe = flap_recipe()
    recipe |= {"variants": [{**recipe["variants"][1], "sparsity": 0}], "evaluations": []}
    plan = plan_of(write_recipe(flap_run.folder, recipe, name="zero.yaml"))
    assert [one.label for one in plan.variants.values()] == ["dense"]


def test_settings_that_units_do_not_have_are_refused(tmp_path: Path) -> None:
    flap = {"score": "flap", "demonstrations": "mt", "propagation": "dense", "sparsity": 0.4}
    refused: list[dict[str, Any]] = [{"propagation": "sequential"}, {"removes": "highest"}, {"structure": "row"}]
    refused += [
        {"schedule": {"blocks": {0: 0.5}}},
        {"scope": {"blocks": [0]}},
        {"score": "wanda", "structure": "units"},
    ]
    refused += [{"demonstrations": None, "over": ["mt", "mt"], "aggregate": "max"}]
    for changes in refused:
        entry = {key: value for key, value in {**flap, **changes}.items() if value is not None}
        with pytest.raises(RecipeError):
            plan_of(write_recipe(tmp_path, {**flap_recipe(), "variants": [entry]}))


def test_a_architecture_with_a_norm_over_all_heads_is_refused(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model", "olmo2", blocks=1)
    write_texts(tmp_path)
    with pytest.raises(RecipeError):
        plan_of(write_recipe(tmp_path, {**flap_recipe(), "evaluations": []}))


def test_variants_of_units_cannot_be_combined(flap_run: FinishedRun) -> None:
    recipe = flap_recipe()
    recipe["variants"].append({"name": "both", "combine": "intersection", "of": ["equal", "alone"]})
    with pytest.raises(RecipeError):
        plan_of(write_recipe(flap_run.folder, recipe, name="combined.yaml"))


def run_without_biases(inputs: Path, folder: Path, architecture: str, **changes: Any) -> FinishedRun:
    """The FLAP recipe on a model whose layers after units have no biases."""
    copied_inputs(inputs, folder)
    save_tiny_model(folder / "model", architecture, **changes)
    return finished_run(folder, flap_recipe(), name="flap")


NO_BIASES = {"attention_bias": False, "num_key_value_heads": 2}


@pytest.fixture(scope="module")
def llama_run(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return run_without_biases(tiny_inputs, tmp_path_factory.mktemp("llama"), "llama", **NO_BIASES)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ["one", "equal"])
def test_a_llama_with_added_biases_is_exported_as_a_plain_folder(
    llama_run: FinishedRun, name: str, tmp_path: Path
) -> None:
    variant, base = llama_run.named(name)[-1], llama_run.folder / "model"
    masked = load_masked_model(llama_run.store, variant.id, base)
    export_variant(llama_run.store, variant.id, base, tmp_path / "whole")
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    assert (whole.config.attention_bias, whole.config.mlp_bias) == (name == "one", True)  # equal removes no heads
    assert name == "equal" or not whole.model.layers[0].self_attn.q_proj.bias.any()
    assert whole.model.layers[0].mlp.down_proj.bias.any()
    torch.testing.assert_close(logits(whole), logits(masked), rtol=0, atol=0)
    (uncompensated,) = llama_run.named("alone")
    plain = load_masked_model(llama_run.store, uncompensated.id, base)
    assert not torch.allclose(logits(plain), logits(masked), atol=1e-3)
    export_variant(llama_run.store, variant.id, base, tmp_path / "smaller", smaller=True)
    assert (tmp_path / "smaller" / LOADER_FILE).exists() == (name == "one")
    assert_same_logits(tmp_path / "smaller", whole)


def test_an_export_of_added_biases_extends_the_index_of_a_model_in_several_files(
    tiny_inputs: Path, tmp_path: Path
) -> None:
    folder = copied_inputs(tiny_inputs, tmp_path / "run")
    base = save_tiny_model(folder / "model", "llama", blocks=2, **NO_BIASES)
    model = reference_model(base)
    (base / "model.safetensors").unlink()
    model.save_pretrained(base, max_shard_size="20KB")
    run = finished_run(folder, {**flap_recipe(), "evaluations": []}, name="flap")
    variant = run.named("one")[-1]
    export_variant(run.store, variant.id, base, tmp_path / "whole")
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    masked = load_masked_model(run.store, variant.id, base)
    torch.testing.assert_close(logits(whole), logits(masked), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["one", "equal"])
def test_only_a_sparsity_that_differs_by_more_than_a_step_has_a_warning(flap_run: FinishedRun, name: str) -> None:
    for variant in flap_run.named(name):
        record = flap_run.store.require("variants", variant.id)
        assert not list(variant_warnings(flap_run.store, record))
        (line,) = variant_warnings(flap_run.store, replace(record, parameters={**record.parameters, "sparsity": 0.9}))
        assert variant.id in line
        assert "0.9" in line


def test_only_variants_that_add_biases_have_new_ids(flap_run: FinishedRun, llama_run: FinishedRun) -> None:
    def names(run: FinishedRun) -> set[str]:
        entries = ("one", "equal", "alone")
        return {name for name in entries for one in run.named(name) if "adds_biases" in one.spec.identity.parameters}

    assert names(flap_run) == set()
    assert names(llama_run) == {"one", "equal"}


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("architecture", ["qwen2", "gemma"])
def test_a_architecture_whose_config_cannot_declare_the_biases_runs_and_is_not_exported(
    tiny_inputs: Path, tmp_path: Path, architecture: str
) -> None:
    run = run_without_biases(tiny_inputs, tmp_path / "run", architecture, blocks=2)
    variant, base = run.named("equal")[-1], run.folder / "model"
    before = sorted(base.iterdir())
    for smaller in (False, True):
        with pytest.raises(BadInputError) as caught:
            export_variant(run.store, variant.id, base, tmp_path / "whole", smaller=smaller)
        assert caught.value.context["variant_id"] == variant.id
        assert "mlp.down_proj" in caught.value.context["got"]
        assert "compensate: false" in caught.value.context["next"]
        assert "store.load" in caught.value.context["next"]
    publication = Publication(variant.id, "equal")
    with pytest.raises(BadInputError):
        publish_variants(run.store, [publication], {variant.spec.model.base_model_id: base}, tmp_path / "published")
    assert (sorted(base.iterdir()), sorted(path.name for path in tmp_path.iterdir())) == (before, ["run"])
    masked = load_masked_model(run.store, variant.id, base)
    assert masked.model.layers[0].mlp.down_proj.bias.any()
    (alone,) = run.named("alone")
    export_variant(run.store, alone.id, base, tmp_path / "alone")
    assert not (tmp_path / "alone" / "added-biases.safetensors").exists()


TEXTS = torch.tensor([[5, 9, 200, 31, 77, 12, 150], [8, 2, 60, 61, 90, 120, 4]])
UNIT = {"heads": 1, "neurons": 5}
"""The planted unit of each kind."""


def plant(folder: Path, architecture: Architecture) -> Any:
    """Let a head and a neuron of a model pass on their biases alone, and return the model."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    files = UnitModel(model_ref(folder, architecture))
    block = model.get_submodule(f"{architecture.blocks}.0")
    for layout in files.layouts(0):
        for layer, owners in layout.rows.items():
            with torch.no_grad():
                oriented(block.get_submodule(layer).weight, architecture.block(0))[owners == UNIT[layout.kind]] = 0
    model.save_pretrained(folder)
    return model


def model_ref(folder: Path, architecture: Architecture) -> ModelRef:
    return ModelRef("id", str(folder), architecture.name, 1, None, "float32")


@torch.no_grad()
def moments_of(model: Any, architecture: Architecture) -> Mapping[str, FeatureMoments]:
    """Moments of the inputs of the output and down projections of the only block."""
    found: dict[str, FeatureMoments] = {}
    block, handles = model.get_submodule(f"{architecture.blocks}.0"), []
    for layer in architecture.block(0).after_units:

        def observe(_: Any, inputs: tuple[Tensor, ...], layer: str = layer) -> None:
            rows = inputs[0].flatten(0, -2).double()
            found[layer] = FeatureMoments(1, len(rows), rows.sum(0), rows.square().sum(0), rows.var(0))

        handles.append(block.get_submodule(layer).register_forward_pre_hook(observe))
    model(TEXTS)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.thorough("runs a model for every case")
@torch.no_grad()
@pytest.mark.parametrize("name", ["xglm", "gpt2", "bloom"])
def test_constant_units_are_removed_first_and_their_removal_changes_no_logit(name: str, tmp_path: Path) -> None:
    changes = {"attention_heads": 4} if name == "xglm" else {"num_attention_heads": 4}
    architecture = ARCHITECTURES[name]
    model = plant(save_tiny_model(tmp_path, name, blocks=1, **changes), architecture)
    dense, moments = model(TEXTS).logits, moments_of(model, architecture)
    files = UnitModel(model_ref(tmp_path, architecture))
    first: dict[str, Tensor] = {}
    for sparsity in (0.05 * step for step in range(1, 18)):
        (units,) = chosen_units(files, ScoreSpec("flap", "units"), sparsity=sparsity, read_moments=lambda _: moments)
        for one in units:
            if bool(one.removed.any()):
                first.setdefault(one.layout.kind, one.removed)
    assert {kind: bool(removed[UNIT[kind]]) for kind, removed in first.items()} == {"heads": True, "neurons": True}
    planted = tuple(
        RemovedUnits(layout, torch.arange(layout.n_units) == UNIT[layout.kind]) for layout in files.layouts(0)
    )
    biases = new_biases(files, planted, block=0, read_moments=lambda _: moments)
    block = model.get_submodule(f"{architecture.blocks}.0")
    for one in planted:
        layer = block.get_submodule(one.layout.output)
        oriented(layer.weight, architecture.block(0))[:, one.removed[one.layout.columns]] = 0
        assert not torch.equal(layer.bias, biases[one.layout.output])
        layer.bias.copy_(biases[one.layout.output])
    torch.testing.assert_close(model(TEXTS).logits, dense, rtol=1e-5, atol=1e-5)


@pytest.mark.thorough("runs a model for every case")
def test_missing_moments_are_named(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, "mistral", blocks=1, num_attention_heads=4, num_key_value_heads=2)
    files = UnitModel(model_ref(tmp_path, ARCHITECTURES["mistral"]))
    units = tuple(RemovedUnits(layout, torch.arange(layout.n_units) == 0) for layout in files.layouts(0))
    with pytest.raises(StatisticsError):
        new_biases(files, units, block=0, read_moments=lambda _: {})
    score = ScoreSpec("flap", "units", score_parameters=FlapParameters(head_power=1.0))
    with pytest.raises(StatisticsError):
        chosen_units(files, score, sparsity=0.3, read_moments=lambda _: {})
