"""Variants without neurons of a finished run: plan, masks, records, comparisons, and a planted neuron."""

from pathlib import Path
from typing import Any

import pytest
import torch

from catalog.queries import run_user_query
from catalog.store import Catalog
from mlprune.capabilities.neurons.neuron_activity import NeuronActivityJob
from mlprune.capabilities.neurons.neuron_masks import chosen_neurons, removed_neurons
from mlprune.capabilities.neurons.selection import NeuronSelection
from mlprune.capabilities.neurons.variant import NeuronVariant
from mlprune.capabilities.publishing.model_card import model_card
from mlprune.errors import RecipeError
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.rescore.verify import verify_variant
from mlprune.store.records import Record
from tests.neuron_recipe import neuron_recipe
from tests.tiny_recipes import FinishedRun


def the(run: FinishedRun, **choice: Any) -> NeuronVariant:
    specs = [one.spec for one in run.named("neurons") if isinstance(one.spec, NeuronVariant)]
    (found,) = [spec for spec in specs if vars(spec.selection).items() >= choice.items()]
    return found


def rows_of(run: FinishedRun, variant: NeuronVariant) -> dict[int, dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    for row in run.store.require("variants", variant.id).rows["variant_neurons"]:
        rows[int(str(row["block"]))] = dict(row)
    return rows


def test_lists_multiply_out_and_only_controls_have_seeds(neuron_run: FinishedRun) -> None:
    specs = [one.spec for one in neuron_run.named("neurons")]
    found = [spec.identity.parameters["neurons"] for spec in specs if isinstance(spec, NeuronVariant)]
    chosen = {"of": "sw", "share": 0.2, "quantile": 0.5}
    controls = [{**chosen, "action": "random"}, {**chosen, "action": "random", "seed": 1}]
    assert found == [{**chosen, "action": "remove"}, {**chosen, "action": "only"}, *controls]
    counted = [job for job in neuron_run.plan.jobs if isinstance(job, NeuronActivityJob)]
    assert [job.identity.id for job in counted] == list(the(neuron_run, action="remove").activity_ids)


def test_the_masks_remove_the_columns_of_the_neurons_and_nothing_else(neuron_run: FinishedRun) -> None:
    variant = the(neuron_run, action="remove")
    removed = removed_neurons(neuron_run.store, variant)
    assert sum(int(of_block.sum()) for of_block in removed) > 0
    for (block, layer), keep in neuron_run.keep_masks(variant.id).items():
        expected = ~removed[block].expand(keep.shape) if layer == "fc2" else torch.ones_like(keep)
        assert torch.equal(keep, expected), (block, layer)


@pytest.mark.thorough("runs a model for every case")
def test_the_neurons_of_a_language_are_those_of_the_catalogs_query(neuron_run: FinishedRun) -> None:
    with Catalog.in_memory(neuron_run.store) as catalog:
        rows = run_user_query(catalog, "language_specific_neurons", ["share=0.2", "quantile=0.5"]).as_dicts()
        labels = {row["variant_id"]: str(row["label"]) for row in catalog.query("FROM described_variants")}
    of_query: dict[str, dict[int, set[int]]] = {"fr": {}, "sw": {}}
    for row in rows:
        of_query[str(row["language"])][int(str(row["block"]))] = {int(one) for one in str(row["neurons"] or "").split()}
    removed = rows_of(neuron_run, the(neuron_run, action="remove"))
    assert {block: set(row["removed"]) for block, row in removed.items()} == of_query["sw"]
    for block, row in rows_of(neuron_run, the(neuron_run, action="only")).items():
        assert set(row["removed"]) == of_query["fr"][block] - of_query["sw"][block]
    label = labels[the(neuron_run, action="random", seed=1).id]
    assert label.startswith("neurons")
    assert "without as many random neurons as of sw, share 0.2, quantile 0.5" in label
    assert label.endswith("seed 1")


def test_a_control_has_other_neurons_in_the_same_numbers(neuron_run: FinishedRun) -> None:
    removed = rows_of(neuron_run, the(neuron_run, action="remove"))
    controls = [rows_of(neuron_run, the(neuron_run, action="random", seed=seed)) for seed in (0, 1)]
    for block, row in removed.items():
        for control in controls:
            assert control[block]["n_removed"] == row["n_removed"] == len(control[block]["removed"])
            assert not set(control[block]["removed"]) & set(row["removed"])
    assert [row["removed"] for row in controls[0].values()] != [row["removed"] for row in controls[1].values()]


def test_a_removal_is_compared_with_its_controls(neuron_run: FinishedRun) -> None:
    pairs = {(job.variant_id, job.baseline_id) for job in neuron_run.plan.jobs if isinstance(job, CompareJob)}
    removal, only = the(neuron_run, action="remove"), the(neuron_run, action="only")
    controls = {the(neuron_run, action="random", seed=seed).id for seed in (0, 1)}
    dense = next(iter(neuron_run.plan.variants))
    assert {baseline for variant, baseline in pairs if variant == removal.id} == {dense, *controls}
    assert {baseline for variant, baseline in pairs if variant == only.id} == {dense}


def test_the_record_names_the_neurons_the_sets_and_the_share_of_removed_weights(neuron_run: FinishedRun) -> None:
    variant = the(neuron_run, action="random", seed=1)
    record = neuron_run.store.require("variants", variant.id)
    row = neuron_run.row("variants", variant.id)
    assert row["neurons"] == {"action": "random", "of": "sw", "share": 0.2, "quantile": 0.5}
    assert (row["seed"], row["structure"], row["score"]) == (1, "neurons", None)
    assert 0 < row["sparsity"] == row["achieved_sparsity"] < 0.2
    assert {link["demonstration_set_id"] for link in record.rows["variant_demonstrations"]} == set(variant.set_ids)
    card = model_card(neuron_run.store, record)
    assert "arXiv:2402.16438" in card
    assert "neurons" in card.split("\n# ")[1].splitlines()[0]
    assert verify_variant(neuron_run.store, record, neuron_run.folder / "model").is_equal


def counts(by_block: list[list[int]]) -> Record:
    rows = [{"block": block, "n_tokens": 50, "n_active": of_block} for block, of_block in enumerate(by_block)]
    return Record("neuron_activity", "id", 1, {}, {}, {}, (), {"neuron_activity": rows})


def test_a_planted_neuron_is_found_and_removed() -> None:
    usual = counts([[20] * 20, [20] * 30])
    planted = counts([[20] * 20, [20] * 11 + [45] + [20] * 18])
    without = counts([[20] * 20, [20] * 11 + [0] + [20] * 18])
    activities = [("fr", without), ("sw", planted), ("sw", planted), ("en", without)]

    def chosen(selection: NeuronSelection) -> list[list[int]]:
        return [torch.nonzero(of_block).flatten().tolist() for of_block in chosen_neurons(activities, selection)]

    assert chosen(NeuronSelection("sw", "remove", share=0.02)) == [[], [11]]
    assert chosen(NeuronSelection("fr", "remove", share=0.02)) == [[], []]
    assert chosen(NeuronSelection("fr", "only", share=0.02)) == [[], [11]], "a neuron of another language"
    first, second = chosen(NeuronSelection("sw", "random", share=0.02))
    assert (first, len(second)) == ([], 1)
    assert second != [11]
    nothing = chosen_neurons([("fr", usual), ("sw", usual)], NeuronSelection("sw", "remove"))
    assert not any(bool(of_block.any()) for of_block in nothing), "no probability exceeds the threshold"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"neurons": {"of": "en", "sets": "text"}}, "needs a language of its sets"),
        ({"neurons": {"of": "fr", "sets": "mt"}}, "needs"),
        ({"neurons": {"of": "fr", "sets": "none"}}, "neurons.sets"),
        ({"neurons": {"of": "fr", "sets": "text", "action": "keep"}}, "action"),
        ({"neurons": {"of": "fr", "sets": "text", "share": [0.1, 0.1]}}, "share"),
        ({"neurons": {"of": "fr", "sets": "text"}, "sparsity": 0.5}, "not sparsity"),
    ],
)
def test_a_wrong_entry_is_refused_by_its_key(tiny_inputs: Path, entry: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        parse_recipe({**neuron_recipe(), "variants": [entry], "evaluations": []}, folder=tiny_inputs)
