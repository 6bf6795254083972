"""Errors of layers, compared with the outputs of transformers' model on every text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.models.checkpoint.weight_files import read_block
from mlprune.models.masks.block_changes import BlockChanges, changed_weights
from mlprune.numeric.masks.packed_masks import PackedMask
from mlprune.numeric.weights.quantisation import Quantisation, quantised
from mlprune.planning import build_plan
from mlprune.pruning.mask_files import read_block_weights
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.compare.layer_errors import LayerErrorsJob
from mlprune.steps.variants.variant_rows import require_masks
from tests.tiny_models import ARCHITECTURES
from tests.tiny_recipes import FinishedRun, finished_run, layer_inputs, reference_model, small_recipe

N_BLOCKS = 3
LAYERS = ARCHITECTURES["xglm"].layers


def recipe() -> dict[str, Any]:
    """Masks, a combination of masks, changed and quantised weights, and the dense model."""
    half = {"sparsity": 0.5}
    return {
        **small_recipe(),
        "demonstrations": [{**small_recipe()["demonstrations"][0], "source": ["fr", "sw"], "samples": 3}],
        "variants": [
            {"name": "magnitude", "score": "magnitude", **half},
            {"name": "random", "score": "random", **half},
            {"name": "quantised", "score": "random", **half, "bits": 4},
            {"name": "both", "combine": "union", "of": ["magnitude", "random"]},
            {"name": "sparsegpt", "score": "sparsegpt", "demonstrations": "mt", **half},
            {"name": "unpruned", "score": "magnitude", "sparsity": 0},
        ],
        "evaluations": [],
        "analyses": {"layer_errors": {"demonstrations": ["mt"]}, "mask_overlaps": 0},
    }


@pytest.fixture(scope="module")
def run(tiny_inputs: Path) -> Iterator[FinishedRun]:
    return finished_run(tiny_inputs, recipe(), name="layer-errors")


def weights_of(run: FinishedRun, variant_id: str) -> dict[tuple[int, str], Tensor]:
    """(block, layer) -> the weight that a variant has."""
    masks = run.keep_masks(variant_id)
    files = require_masks(run.store, variant_id).weights
    found = {}
    for block in range(N_BLOCKS):
        dense = read_block(run.folder / "model", block, dtype="float32")
        new = read_block_weights(run.store, files[block]) if files else {}
        found |= {(block, layer): new.get(layer, dense[layer]) * masks[block, layer] for layer in LAYERS}
    bits = run.row("variants", variant_id).get("bits")
    return {key: quantised(one, Quantisation(bits)) for key, one in found.items()} if bits else found


def expected(run: FinishedRun, variant_id: str, set_id: str) -> dict[tuple[int, str], float]:
    """(block, layer) -> squared change of the outputs, text by text, divided by the squared outputs."""
    model = reference_model(run.folder / "model")
    (table, *_) = run.store.require("demonstration_sets", set_id).artefacts
    changed = weights_of(run, variant_id)
    changes, totals = dict.fromkeys(changed, 0.0), dict.fromkeys(changed, 0.0)
    for token_ids in run.store.read_table(table)["token_ids"]:
        for key, inputs in layer_inputs(model, token_ids, layers=LAYERS).items():
            dense = model.model.layers[key[0]].get_submodule(key[1]).weight.detach().double()
            outputs, new = inputs.double() @ dense.t(), inputs.double() @ changed[key].double().t()
            changes[key] += float((outputs - new).square().sum())
            totals[key] += float(outputs.square().sum())
    return {key: changes[key] / totals[key] for key in changed}


@pytest.mark.thorough("runs a model for every case")
def test_errors_equal_those_of_the_outputs_of_every_text(run: FinishedRun) -> None:
    rows = run.rows("layer_errors")
    sets = {row["demonstration_set_id"] for row in run.rows("demonstration_sets")}
    pruned = {one.id for one in run.plan.variants.values() if not one.is_dense}
    assert {(row["variant_id"], row["demonstration_set_id"]) for row in rows} == {(v, s) for v in pruned for s in sets}
    assert len(pruned) == 6  # sparsegpt has one per set
    for variant_id in pruned:
        for set_id in sets:
            found = {
                (row["block"], row["layer"]): row["error"]
                for row in rows
                if (row["variant_id"], row["demonstration_set_id"]) == (variant_id, set_id)
            }
            assert found == pytest.approx(expected(run, variant_id, set_id), rel=1e-4)
    assert {row["n_weights"] for row in rows} == {
        one.numel() for one in read_block(run.folder / "model", 0, dtype="float32").values()
    }


def test_sparsegpt_changes_the_outputs_on_its_own_set_less_than_magnitude_does(run: FinishedRun) -> None:
    means: dict[tuple[str, str], list[float]] = {}
    for row in run.rows("layer_errors"):
        means.setdefault((row["variant_id"], row["demonstration_set_id"]), []).append(row["error"])
    (magnitude,) = run.named("magnitude")
    for variant in run.named("sparsegpt"):
        key = variant.spec.set_ids[0]
        assert sum(means[variant.id, key]) < sum(means[magnitude.id, key])


def test_only_named_variants_are_compared_and_their_ids_do_not_depend_on_the_others(tiny_inputs: Path) -> None:
    def jobs(variants: list[str]) -> dict[str, str]:
        errors = {"demonstrations": ["mt"]} | ({"variants": variants} if variants else {})
        value = {**recipe(), "analyses": {"layer_errors": errors}}
        plan = build_plan(parse_recipe(value, folder=tiny_inputs))
        return {job.identity.id: job.variant_id for job in plan.jobs if isinstance(job, LayerErrorsJob)}

    everything, named = jobs([]), jobs(["both", "unpruned"])
    assert len(everything) == 12
    assert len(named) == 2
    assert named.items() <= everything.items()


def test_changed_weights_are_new_weights_then_masks_then_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {layer: torch.randn(4, 8, generator=generator) for layer in ("a", "b", "c")}
    new, keep = torch.randn(4, 8, generator=generator).double(), torch.rand(4, 8, generator=generator) > 0.5
    before = {layer: one.clone() for layer, one in weights.items()}
    changes = BlockChanges({"a": PackedMask.pack(keep), "b": PackedMask.pack(keep)}, {"b": new}, Quantisation(4))
    changed = changed_weights(weights, changes)
    plain = {"a": weights["a"] * keep, "b": new.float() * keep, "c": weights["c"]}
    for layer, weight in plain.items():
        assert torch.equal(changed[layer], quantised(weight, Quantisation(4)))
        assert torch.equal(weights[layer], before[layer])
    without = changed_weights(weights, BlockChanges({"a": PackedMask.pack(keep)}))
    assert torch.equal(without["a"], plain["a"])
    assert torch.equal(without["c"], weights["c"])
