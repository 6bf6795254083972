"""Effect of refiners on a block: errors per set before and after, swaps, and who pays for them."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.methods import REFINERS, GramSwapsParameters, LeastSquaresParameters
from mlprune.models.families.records import FAMILIES
from mlprune.numeric.weights.layer_errors import layer_error
from mlprune.pruning.block_inputs import BlockInputs
from mlprune.pruning.block_pruning import PruningMethod, pruned_block
from mlprune.pruning.layer_refinement import RefinedVariant, refinement_tables
from mlprune.pruning.scoring import PrunedBlock, keep_masks
from mlprune.pruning.spec import RefinementSpec, ScoreSpec

XGLM = FAMILIES["xglm"]
D_IN, D_OUT = 8, 16
NAMES = ("fr", "sw")


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def block_weights(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {layer: drawn(D_OUT, D_IN, seed=n).to(dtype) for n, layer in enumerate(XGLM.layers)}


def gram_matrices(seed: int) -> dict[str, Tensor]:
    """Input -> Gram matrix of correlated features."""
    inputs = {name: drawn(40, D_IN, seed=seed + n) for n, name in enumerate(XGLM.input_names)}
    mixed = {name: x @ (torch.eye(D_IN) + 0.6 * drawn(D_IN, D_IN, seed=seed)) for name, x in inputs.items()}
    return {name: (x.T @ x).double() for name, x in mixed.items()}


def combined(sets: Sequence[dict[str, Tensor]], shares: Sequence[float]) -> dict[str, Tensor]:
    return {
        name: torch.stack([share * one[name] / one[name].trace() for one, share in zip(sets, shares, strict=True)]).sum(
            0
        )
        for name in sets[0]
    }


def refined(
    refiner: str, parameters: Any, sets: Sequence[dict[str, Tensor]], *, shares: Sequence[float] = (0.5, 0.5)
) -> tuple[PrunedBlock, PrunedBlock]:
    """The block pruned by magnitude, and refined."""
    inputs = BlockInputs(products=combined(sets, shares), products_of_sets=tuple(sets))
    sparsities = {layer: (0.0 if layer == "fc2" else 0.5,) for layer in XGLM.layers}
    blocks = [
        pruned_block(
            block_weights(),
            PruningMethod(ScoreSpec("magnitude"), refinement),
            sparsities=sparsities,
            inputs=inputs,
            block=3,
            family=XGLM,
        )
        for refinement in (None, RefinementSpec(refiner, parameters))
    ]
    return blocks[0], blocks[1]


@pytest.mark.parametrize(
    ("refiner", "parameters"),
    [("gram_swaps", GramSwapsParameters(swaps=3)), ("least_squares", LeastSquaresParameters(swaps=2))],
)
def test_errors_before_and_after_are_those_of_the_masks_on_each_set(refiner: str, parameters: Any) -> None:
    sets = [gram_matrices(1), gram_matrices(50)]
    before, after = refined(refiner, parameters, sets)
    rows = refinement_tables(after.refinements, RefinedVariant("v", NAMES), block=3)["refined_layers"]
    assert [(row["layer"], row["demonstration_set_id"]) for row in rows] == [
        (layer, name) for layer in XGLM.layers if layer != "fc2" for name in NAMES
    ]
    old, new = keep_masks(before.levels, level=0), keep_masks(after.levels, level=0)
    for row in rows:
        layer = str(row["layer"])
        weight, products = block_weights()[layer], sets[NAMES.index(str(row["demonstration_set_id"]))]
        changed = after.weights.get(layer, weight * new[layer])
        gram = products[XGLM.input_of(layer)]
        assert row["error_before"] == pytest.approx(layer_error(weight, weight * old[layer], gram))
        assert row["error_after"] == pytest.approx(layer_error(weight, changed, gram))
        assert row["n_swaps"] == int((new[layer] & ~old[layer]).sum())
        is_changed = (changed != weight * old[layer]).any(1)
        assert row["n_rows_changed"] == int(is_changed.sum())
        assert (row["variant_id"], row["block"]) == ("v", 3)


def test_a_refiner_without_gram_matrices_has_rows_without_errors() -> None:
    _, after = refined("least_squares", REFINERS["least_squares"].parameters(), [gram_matrices(1)], shares=[1.0])
    rows = refinement_tables(after.refinements, RefinedVariant("v", ("fr",)), block=0)["refined_layers"]
    assert {row["n_swaps"] for row in rows} == {None}
    without = {layer: type(one)((), 5, 2) for layer, one in after.refinements.items()}
    rows = refinement_tables(without, RefinedVariant("v", NAMES), block=0)["refined_layers"]
    assert {(row["error_before"], row["error_after"], row["n_swaps"]) for row in rows} == {(None, None, 5)}
    assert len(rows) == 2 * len(without)
    assert refinement_tables(without, None, block=0) == {}


def test_the_share_of_a_language_decides_whether_the_feature_that_it_alone_uses_is_kept() -> None:
    """Only Swahili has activations in feature 0. Without Swahili its weights are free to remove."""
    french, swahili = gram_matrices(1), gram_matrices(1)
    for matrix in french.values():
        matrix[0], matrix[:, 0] = 0, 0
    for matrix in swahili.values():
        matrix[0], matrix[:, 0] = 0, 0
        matrix[0, 0] = 30 * matrix.trace()
    kept, errors = {}, {}
    for name, shares in {"french": (1.0, 0.0), "equal": (0.5, 0.5)}.items():
        _, after = refined("gram_swaps", GramSwapsParameters(), [french, swahili], shares=shares)
        kept[name] = keep_masks(after.levels, level=0)["fc1"][:, 0].float().mean()
        errors[name] = after.refinements["fc1"].errors
    assert kept["french"] == 0
    assert kept["equal"] > 0.7
    (_, french_alone), (swahili_before, swahili_paying) = errors["french"]
    (_, french_paying), (_, swahili_after) = errors["equal"]
    assert swahili_paying >= swahili_before
    assert swahili_after < 0.1 * swahili_before
    assert french_paying > french_alone
