"""Effect of refiners on a block: errors per set before and after, swaps, and who pays for them."""

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.methods import REFINERS, GramSwapsParameters, LeastSquaresParameters, RandomParameters, RiaParameters
from mlprune.numeric.masks.packed_masks import PackedMask
from mlprune.numeric.selection.levels import levels_of
from mlprune.numeric.selection.permutation import column_order
from mlprune.numeric.weights.layer_inputs import LayerInputs, layer_error
from mlprune.numeric.weights.scores import SCORE_FUNCTIONS
from mlprune.processes.parallel import set_worker_threads
from mlprune.pruning.block_inputs import BlockInputs, Factors
from mlprune.pruning.block_pruning import PruningMethod, pruned_block
from mlprune.pruning.scoring import (
    BlockLevels,
    PrunedBlock,
    RefinedVariant,
    block_levels,
    mask_sha256,
    refinement_tables,
)
from mlprune.pruning.spec import RefinementSpec, ScoreSpec
from tests.drawn import drawn
from tests.level_masks import keep_masks
from tests.tiny_models import ARCHITECTURES

XGLM = ARCHITECTURES["xglm"].kinds[0]
D_IN, D_OUT = 8, 16
NAMES = ("fr", "sw")


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
            architecture=XGLM,
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


SPARSITIES = (0.25, 0.5, 0.8)


@pytest.fixture
def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {layer: torch.randn(D_OUT, D_IN, generator=generator) for layer in XGLM.layers}


def factors(seed: int) -> Factors:
    generator = torch.Generator().manual_seed(seed)
    return {name: (torch.rand(D_IN, generator=generator), place) for place, name in enumerate(XGLM.input_names)}


def levels_by(
    weights: dict[str, Tensor],
    choice: ScoreSpec,
    sparsities: Sequence[float],
    *,
    factors: Factors | None = None,
    block: int = 0,
) -> BlockLevels:
    """All layers at the same sparsities, in block 0 by default."""
    everywhere, inputs = dict.fromkeys(weights, tuple(sparsities)), BlockInputs(factors)
    return block_levels(weights, score=choice, sparsities=everywhere, block=block, architecture=XGLM, inputs=inputs)


SPECS = [
    ScoreSpec("wanda"),
    ScoreSpec("contrast"),
    ScoreSpec("magnitude", "matrix"),
    ScoreSpec("magnitude", "alpha"),
    ScoreSpec("wanda", "1:4"),
    ScoreSpec("ria", score_parameters=RiaParameters(1.0)),
    ScoreSpec("ria", removes="highest"),
    ScoreSpec("magnitude", "matrix", removes="highest", rounding="binary"),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_levels_are_those_of_the_structure_from_the_scores_of_each_layer(
    weights: dict[str, Tensor], spec: ScoreSpec
) -> None:
    known_factors = factors(1)
    sparsities = (0.25,) if spec.structure == "1:4" else (0.25, 0.29, 0.5, 0.8)
    ordered = levels_by(weights, spec, sparsities, factors=known_factors)
    for layer, weight in weights.items():
        norms, n_silent = known_factors[XGLM.input_of(layer)]
        scores = SCORE_FUNCTIONS[spec.score](LayerInputs(weight, norms, 0, layer), spec.score_parameters)
        options = {"removes": spec.removes, "rounding": spec.rounding}
        expected = levels_of(scores, spec.structure, sparsities=sparsities, **options)
        assert torch.equal(ordered[layer].packed.unpack(), expected)
        for level, n_removed in enumerate(ordered[layer].n_removed):
            kept = keep_masks(ordered, level=level)[layer]
            assert torch.equal(kept, expected > level)
            assert n_removed == int((~kept).sum())
        assert (ordered[layer].n_silent_features, ordered[layer].n_dampings) == (n_silent, None)


@pytest.mark.parametrize(("rounding", "n_removed"), [("decimal", 29), ("binary", 28)])
def test_the_rounding_of_the_paper_counts_in_binary(rounding: Any, n_removed: int) -> None:
    weights = {layer: torch.randn(2, 100, generator=torch.Generator().manual_seed(1)) for layer in XGLM.layers}
    ordered = levels_by(weights, ScoreSpec("magnitude", rounding=rounding), (0.29,))
    assert {one.n_removed for one in ordered.values()} == {(2 * n_removed,)}


def test_layers_that_read_one_input_use_the_same_factors() -> None:
    same = torch.randn(D_OUT, D_IN, generator=torch.Generator().manual_seed(5))
    ordered = levels_by(dict.fromkeys(XGLM.layers, same), ScoreSpec("wanda"), (0.5,), factors=factors(1))
    levels = {layer: one.packed.unpack() for layer, one in ordered.items()}
    assert torch.equal(levels["self_attn.q_proj"], levels["self_attn.k_proj"])
    assert torch.equal(levels["self_attn.q_proj"], levels["self_attn.v_proj"])
    assert not torch.equal(levels["self_attn.q_proj"], levels["fc1"])


@pytest.mark.parametrize("score", ["wanda", "ria", "magnitude"])
def test_permuted_inputs_keep_a_higher_sum_of_scores_than_the_given_order(
    weights: dict[str, Tensor], score: str
) -> None:
    known_factors = factors(2)
    given, permuted = (
        levels_by(weights, ScoreSpec(score, "2:4", permute=permute), (0.5,), factors=known_factors)
        for permute in (False, True)
    )
    gained = 0.0
    for layer, weight in weights.items():
        choice, norms = ScoreSpec(score), known_factors[XGLM.input_of(layer)][0]
        scores = SCORE_FUNCTIONS[score](LayerInputs(weight, norms, 0, layer), choice.score_parameters).double()
        order = torch.from_numpy(column_order(scores.float(), 2, 4))
        mask = keep_masks(permuted, level=0)[layer]
        assert mask[:, order].reshape(-1, 4).sum(dim=1).eq(2).all()
        gain = float((scores * mask).sum() - (scores * keep_masks(given, level=0)[layer]).sum())
        assert gain >= 0
        gained += gain
    assert gained > 0.01


def test_random_scores_depend_on_seed_block_and_layer_and_on_nothing_else(weights: dict[str, Tensor]) -> None:
    def levels(seed: int, block: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        ordered = levels_by(given, ScoreSpec("random", score_parameters=RandomParameters(seed)), (0.5,), block=block)
        return {layer: one.packed.unpack() for layer, one in ordered.items()}

    first = levels(0, 0, weights)
    others = {layer: weight * 2 for layer, weight in reversed(weights.items())}
    assert all(torch.equal(first[layer], again) for layer, again in levels(0, 0, others).items())
    assert not torch.equal(first["fc1"], levels(1, 0, weights)["fc1"])
    assert not torch.equal(first["fc1"], levels(0, 1, weights)["fc1"])
    assert not torch.equal(first["fc1"], first["fc2"])


def test_every_layer_can_have_its_own_sparsities_and_sparsity_0_removes_nothing(weights: dict[str, Tensor]) -> None:
    own = {**dict.fromkeys(weights, (0.25, 0.5)), "fc1": (0.0, 0.0), "fc2": (0.0, 0.75)}
    inputs = BlockInputs(factors(1))
    ordered = block_levels(weights, score=ScoreSpec("wanda"), sparsities=own, block=0, architecture=XGLM, inputs=inputs)
    assert {layer: one.n_removed for layer, one in ordered.items()} == {
        **dict.fromkeys(weights, (32, 64)),
        "fc1": (0, 0),
        "fc2": (0, 96),
    }
    assert list(ordered) == list(weights)
    assert {layer: one.sparsities for layer, one in ordered.items()} == own
    assert keep_masks(ordered, level=1)["fc1"].all()
    assert ordered["fc1"].n_silent_features == 0


def test_a_mask_is_hashed_row_by_row_eight_weights_to_a_byte(weights: dict[str, Tensor]) -> None:
    ordered = levels_by(weights, ScoreSpec("magnitude"), (0.25, 0.5))
    for layer, one in ordered.items():
        for level in (0, 1):
            bits = [int(stays) for row in keep_masks(ordered, level=level)[layer].tolist() for stays in row]
            packed = bytes(
                sum(bit << place for place, bit in enumerate(bits[at : at + 8])) for at in range(0, D_OUT * D_IN, 8)
            )
            assert one.keep_sha256[level] == hashlib.sha256(packed).hexdigest()
    mask = keep_masks(ordered, level=0)["fc1"]
    for same in (mask, mask.t().contiguous().t()):
        assert mask_sha256(PackedMask.pack(same)) == ordered["fc1"].keep_sha256[0]


def test_threads_change_no_level(weights: dict[str, Tensor]) -> None:
    known_factors = factors(1)
    alone = levels_by(weights, ScoreSpec("wanda", "alpha"), SPARSITIES, factors=known_factors)
    set_worker_threads(2)
    try:
        together = levels_by(weights, ScoreSpec("wanda", "alpha"), SPARSITIES, factors=known_factors)
    finally:
        set_worker_threads(1)
    assert all(torch.equal(alone[layer].packed.unpack(), together[layer].packed.unpack()) for layer in weights)
    assert all(alone[layer].keep_sha256 == together[layer].keep_sha256 for layer in weights)


def test_statistics_of_another_shape_and_negative_norms_are_errors(weights: dict[str, Tensor]) -> None:
    short = {name: (one[:-1], 0) for name, (one, _) in factors(1).items()}
    with pytest.raises(ShapeError):
        levels_by(weights, ScoreSpec("wanda"), (0.5,), factors=short)
    negative = {name: (-one, 0) for name, (one, _) in factors(1).items()}
    with pytest.raises(StatisticsError):
        levels_by(weights, ScoreSpec("wanda"), (0.5,), factors=negative)
    with pytest.raises(ShapeError):
        levels_by(weights, ScoreSpec("magnitude", structure="1:3"), (1 / 3,))
