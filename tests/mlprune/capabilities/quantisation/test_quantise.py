"""Quantised variants of a finished run: their plan, records, masks, weights, comparisons, export and verification."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from catalog.queries import run_user_query
from catalog.store import Catalog
from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.publishing.model_card import model_card
from mlprune.capabilities.quantisation.variant import QuantisedVariant
from mlprune.errors import BadInputError, RecipeError
from mlprune.models.shard import Shard
from mlprune.numeric.weights.quantisation import GROUP, Quantisation, quantised
from mlprune.planning import build_plan
from mlprune.pruning.mask_files import read_block_weights
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.evaluate.model_evaluation import EvaluateJob, apply_variant
from mlprune.steps.rescore.verify import verify_variant
from mlprune.steps.variants.variant_rows import require_masks, stored_masks
from tests.derived_recipe import derived_recipe
from tests.refusals import refused
from tests.scored_texts import score_of_text
from tests.tiny_recipes import COLOURS, FinishedRun, chain_of, fact, reference_model

LAYERS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "fc1", "fc2")


def the(run: FinishedRun, name: str, bits: int) -> QuantisedVariant:
    specs = [one.spec for one in run.named(name)]
    (found,) = [spec for spec in specs if isinstance(spec, QuantisedVariant) and spec.quantisation.bits == bits]
    return found


def expected_weights(run: FinishedRun, variant: QuantisedVariant) -> dict[tuple[int, str], Tensor]:
    """The masked and changed weights of the parent, rounded."""
    model, masks = reference_model(run.folder / "model"), run.keep_masks(variant.parent.id)
    stored = stored_masks(run.store, run.store.require("variants", variant.parent.id))
    new = {
        (block, layer): weight
        for block, artefact in enumerate(stored.weights if stored else ())
        for layer, weight in read_block_weights(run.store, artefact).items()
    }
    weights = {}
    for block, module in enumerate(model.model.layers):
        for layer in LAYERS:
            weight = new.get((block, layer), module.get_submodule(layer).weight.detach())
            weights[block, layer] = quantised(weight * masks.get((block, layer), 1), variant.quantisation)
    return weights


def test_a_list_of_bits_makes_a_variant_each_next_to_the_unquantised_parent(derived_run: FinishedRun) -> None:
    specs = [one.spec for one in derived_run.named("wanda-bits")]
    (parent,) = derived_run.named("wanda")
    found = [(spec.quantisation, spec.parent) for spec in specs if isinstance(spec, QuantisedVariant)]
    assert found == [(Quantisation(8), parent.spec), (Quantisation(4), parent.spec)]
    assert [dict(spec.identity.parameters) for spec in specs] == [{"bits": 8}, {"bits": 4}]
    assert dict(the(derived_run, "magnitude-bits", 4).identity.parameters) == {"bits": 4, "group": 8}
    changed = the(derived_run, "changed-bits", 4).parent
    assert derived_run.plan.variants[changed.id].entries == (), "the parent is planned, and has no name"
    assert [one.label for one in derived_run.named("wanda-bits")] == [f"{parent.label} {bits} bits" for bits in (8, 4)]
    assert [one.label for one in derived_run.named("dense-bits")] == ["dense 8 bits", "dense 4 bits"]
    assert derived_run.named("union-bits")[0].label.startswith("union of wanda")


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(
    ("name", "bits"), [("wanda-bits", 4), ("changed-bits", 4), ("dense-bits", 8), ("union-bits", 4)]
)
def test_the_weights_of_an_applied_variant_are_the_parents_rounded_in_place(
    derived_run: FinishedRun, name: str, bits: int
) -> None:
    variant = the(derived_run, name, bits)
    chain = chain_of(derived_run.plan)
    apply_variant(chain, derived_run.store, variant.id)
    for (block, layer), expected in expected_weights(derived_run, variant).items():
        assert torch.equal(chain.on_block(block, _weight, block, layer), expected), (block, layer)
    chain.everywhere(Shard.set_keep_masks, None)
    dense = reference_model(derived_run.folder / "model").model.layers[1].fc1.weight
    assert torch.equal(chain.on_block(1, _weight, 1, "fc1"), dense)


def _weight(shard: Shard, block: int, layer: str) -> Tensor:
    return shard.runner.modules[block].get_submodule(layer).get_parameter("weight").detach().clone()


def test_an_evaluation_is_that_of_the_rounded_weights(derived_run: FinishedRun) -> None:
    variant = the(derived_run, "wanda-bits", 4)
    model, dense = (reference_model(derived_run.folder / "model") for _ in range(2))
    for (block, layer), weight in expected_weights(derived_run, variant).items():
        model.model.layers[block].get_submodule(layer).weight.data = weight
    job = next(one for one in derived_run.plan.jobs if isinstance(one, EvaluateJob) and one.variant_id == variant.id)
    (spec,) = job.evaluations
    stored = derived_run.store.read_table(derived_run.store.require(*spec.identity.key).artefacts[0])
    text = fact("fr", int(stored["example_id"][0]))["prompt"].replace("<mask>", COLOURS["fr"][0])
    found = float(stored["log_likelihood"][0])
    assert found == pytest.approx(score_of_text(model, text)[0], abs=1e-4)
    assert found != pytest.approx(score_of_text(dense, text)[0], abs=1e-3)


def test_a_quantised_variant_is_compared_with_its_parent_dense_and_what_its_entry_names(
    derived_run: FinishedRun,
) -> None:
    pairs = {(job.variant_id, job.baseline_id) for job in derived_run.plan.jobs if isinstance(job, CompareJob)}
    eight, four = (the(derived_run, "wanda-bits", bits) for bits in (8, 4))
    dense = next(iter(derived_run.plan.variants))
    against = {baseline for variant, baseline in pairs if variant == four.id}
    assert against == {dense, four.parent.id, eight.id}
    changed = the(derived_run, "changed-bits", 4)
    assert (changed.id, changed.parent.id) in pairs, "the parent of a named variant is evaluated"
    comparable = derived_run.plan.variants
    with_dense = comparable[four.id], comparable[the(derived_run, "dense-bits", 4).id]
    assert with_dense[0].is_comparable_with(with_dense[1])
    assert not comparable[eight.id].is_comparable_with(with_dense[1]), "other bits and other masks"
    other = comparable[the(derived_run, "magnitude-bits", 4).id]
    assert not comparable[four.id].is_comparable_with(other), "other groups"


def test_the_record_repeats_what_the_parents_record_says_and_has_no_files(derived_run: FinishedRun) -> None:
    variant = the(derived_run, "wanda-bits", 4)
    record = derived_run.store.require("variants", variant.id)
    parent = derived_run.store.require("variants", variant.parent.id)
    row, of_parent = record.rows["variants"][0], parent.rows["variants"][0]
    changed = {name for name in row if name not in of_parent or row[name] != of_parent[name]}
    assert changed == {"variant_id", "weights_changed", "bits", "quantisation_group"}
    assert (row["bits"], row["quantisation_group"], row["weights_changed"]) == (4, GROUP, True)
    assert len(record.rows["variant_layers"]) == len(parent.rows["variant_layers"])
    link = {"variant_id": variant.id, "parent_variant_id": parent.id, "role": "unquantised"}
    assert record.rows["variant_parents"] == [link]
    assert record.artefacts == ()
    assert require_masks(derived_run.store, variant.id) == require_masks(derived_run.store, parent.id)
    union = the(derived_run, "union-bits", 4)
    roles = [row["role"] for row in derived_run.store.require("variants", union.id).rows["variant_parents"]]
    assert roles == ["parent 1", "parent 2", "unquantised"]


@pytest.mark.parametrize(("name", "bits"), [("changed-bits", 4), ("dense-bits", 8), ("union-bits", 4)])
def test_an_export_has_the_dequantised_weights(derived_run: FinishedRun, name: str, bits: int, tmp_path: Path) -> None:
    variant = the(derived_run, name, bits)
    export_variant(derived_run.store, variant.id, derived_run.folder / "model", tmp_path / "out")
    written = load_file(tmp_path / "out" / "model.safetensors")
    base = load_file(derived_run.folder / "model" / "model.safetensors")
    for (block, layer), expected in expected_weights(derived_run, variant).items():
        assert torch.equal(written.pop(f"model.layers.{block}.{layer}.weight"), expected)
    assert written
    assert all(torch.equal(tensor, base[key]) for key, tensor in written.items())


def test_the_model_card_names_the_bits_and_the_parent(derived_run: FinishedRun) -> None:
    variant = the(derived_run, "wanda-bits", 4)
    card = model_card(derived_run.store, derived_run.store.require("variants", variant.id))
    assert "dequantised" in card
    assert f"| unquantised | {variant.parent.id} |" in card
    assert "quantised" in card.split("---")[1]
    dense = the(derived_run, "dense-bits", 8)
    assert "quantised weights" in model_card(derived_run.store, derived_run.store.require("variants", dense.id))


def test_verifying_rebuilds_the_masks_of_the_parent(derived_run: FinishedRun) -> None:
    store, model = derived_run.store, derived_run.folder / "model"
    for name in ("wanda-bits", "union-bits"):
        verification = verify_variant(store, store.require("variants", the(derived_run, name, 4).id), model)
        assert verification.is_equal
        assert verification.variant_id == the(derived_run, name, 4).id
    for name, got in (("changed-bits", "changed weights"), ("dense-bits", "the dense model")):
        with refused(BadInputError, got=got):
            verify_variant(store, store.require("variants", the(derived_run, name, 4).id), model)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"score": "wanda", "demonstrations": "mt", "sparsity": 0.5, "bits": 3}, "bits"),
        ({"sparsity": 0, "quantisation_group": 64}, "belongs to bits"),
        ({"sparsity": 0, "bits": 4, "quantisation_group": 0}, "quantisation_group"),
        ({"sparsity": 0.5, "bits": 4}, "needs a score"),
    ],
)
def test_a_wrong_entry_is_refused_by_its_key(derived_run: FinishedRun, entry: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        parse_recipe({**derived_recipe(), "variants": [entry], "evaluations": []}, folder=derived_run.folder)


def test_masks_of_quantised_variants_are_combined_before_they_are_quantised(derived_run: FinishedRun) -> None:
    recipe = derived_recipe()
    recipe["variants"].append({"combine": "union", "of": ["wanda", "magnitude-bits"]})
    with pytest.raises(RecipeError):
        build_plan(parse_recipe(recipe, folder=derived_run.folder))


def test_the_default_group_of_a_recipe_is_that_of_the_quantiser() -> None:
    assert VariantConfig.model_fields["quantisation_group"].default == GROUP


@pytest.mark.thorough("runs a model for every case")
def test_the_catalog_describes_quantised_variants(derived_run: FinishedRun) -> None:
    with Catalog.in_memory(derived_run.store) as catalog:
        rows = {row["variant_id"]: row for row in catalog.query("FROM described_variants")}
        costs = run_user_query(catalog, "quantisation_cost").as_dicts()
    found = {name: rows[the(derived_run, name, 4).id] for name in ("wanda-bits", "dense-bits", "union-bits")}
    labels = ["wanda fr-en 0.5, 4 bits", "4 bits", "union of wanda on fr-en and magnitude, 4 bits 0.416"]
    assert [row["label"] for row in found.values()] == labels
    of_bits = {rows[the(derived_run, "wanda-bits", bits).id]["label"] for bits in (8, 4)}
    assert {row["label"] for row in costs} >= of_bits
    assert all(row["difference"] is not None for row in costs)
