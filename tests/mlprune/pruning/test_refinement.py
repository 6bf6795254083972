"""Refinement of a block with a planted refiner: masks, weights, and what a refiner may not do."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.errors import PermanentError
from mlprune.models.families.records import FAMILIES
from mlprune.numeric.refinement.refined_layer import RefinedLayer
from mlprune.numeric.refinement.registry import REFINER_FUNCTIONS
from mlprune.pruning.block_inputs import BlockInputs
from mlprune.pruning.block_pruning import PruningMethod, pruned_block
from mlprune.pruning.scoring import PrunedBlock, keep_masks
from mlprune.pruning.spec import RefinementSpec, ScoreSpec
from tests.planted_refiner import NAME, PlantedParameters, plant

XGLM = FAMILIES["xglm"]
D_IN, D_OUT = 8, 5


def block_weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {layer: torch.randn(D_OUT, D_IN, generator=generator).to(torch.bfloat16) for layer in XGLM.layers}


def pruned(refinement: RefinementSpec | None, *, structure: str = "row", **options: Any) -> PrunedBlock:
    weights = block_weights()
    sparsities = {layer: (0.0 if layer == "fc2" else 0.5,) for layer in weights}
    method = PruningMethod(ScoreSpec("magnitude", structure), refinement)
    return pruned_block(weights, method, sparsities=sparsities, inputs=BlockInputs(**options), block=0, family=XGLM)


@pytest.mark.parametrize("structure", ["row", "2:4"])
def test_a_refined_mask_is_that_of_the_refiner_at_equal_sparsity(
    monkeypatch: pytest.MonkeyPatch, structure: str
) -> None:
    plant(monkeypatch)
    before, after = pruned(None, structure=structure), pruned(RefinementSpec(NAME), structure=structure)
    assert set(after.refined) == set(XGLM.layers) - {"fc2"}
    assert after.weights == {}
    for layer, keep in keep_masks(after.levels, level=0).items():
        mask = keep_masks(before.levels, level=0)[layer]
        assert torch.equal(keep.sum(dim=1), mask.sum(dim=1))
        assert (keep != mask).sum(dim=1).tolist() == [0 if layer == "fc2" else 2] * D_OUT
        assert after.levels[layer].sparsities == before.levels[layer].sparsities


def test_new_weights_have_the_dtype_of_the_layer_and_zeros_where_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, changes_weights=True)
    after = pruned(RefinementSpec(NAME, PlantedParameters(2.0)))
    assert set(after.weights) == set(XGLM.layers) - {"fc2"}
    for layer, weight in after.weights.items():
        keep = keep_masks(after.levels, level=0)[layer]
        assert weight.dtype == torch.bfloat16
        assert torch.equal(weight, block_weights()[layer] * 2 * keep)


def test_the_refiner_gets_the_statistics_of_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    seen = {}

    def note(inputs: Any, keep: Tensor, **_: Any) -> RefinedLayer:
        seen[inputs.layer] = inputs
        return RefinedLayer(keep)

    monkeypatch.setitem(REFINER_FUNCTIONS, NAME, note)  # type: ignore[arg-type]
    products = {name: torch.eye(D_IN, dtype=torch.float64) * n for n, name in enumerate(XGLM.input_names)}
    gradients = {layer: torch.full((D_OUT, D_IN), float(n)) for n, layer in enumerate(XGLM.layers)}
    pruned(RefinementSpec(NAME), products=products, gradients=gradients)
    for layer, inputs in seen.items():
        assert inputs.products is products[XGLM.input_of(layer)]
        assert inputs.gradients is gradients[layer]
        assert (inputs.block, inputs.factors, inputs.moments) == (0, None, None)


def one_more(keep: Tensor) -> RefinedLayer:
    more = keep.clone()
    more[0] = True
    return RefinedLayer(more)


def moved_to_another_group(keep: Tensor) -> RefinedLayer:
    moved = keep.clone()
    moved[0] = torch.tensor([True] * 4 + [False] * 4)
    return RefinedLayer(moved)


@pytest.mark.parametrize(
    ("structure", "change"),
    [
        ("row", one_more),
        ("2:4", moved_to_another_group),
        ("row", lambda keep: RefinedLayer(keep.float())),
        ("row", lambda keep: RefinedLayer(keep, torch.ones(keep.shape))),
        ("row", lambda keep: RefinedLayer(keep, torch.zeros(keep.shape))),
    ],
)
def test_a_refiner_that_breaks_its_contract_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, structure: str, change: Callable[[Tensor], RefinedLayer]
) -> None:
    plant(monkeypatch)
    monkeypatch.setitem(REFINER_FUNCTIONS, NAME, lambda _inputs, keep, **_: change(keep))  # type: ignore[arg-type]
    with pytest.raises(PermanentError) as raised:
        pruned(RefinementSpec(NAME), structure=structure)
    assert raised.value.context["refiner"] == NAME
