"""Gram swaps, least squares and DSnoT, compared with loops over swaps and tokens, and properties of their results."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.numeric.refinement.dsnot import dsnot
from mlprune.numeric.refinement.gram_swaps import gram_swaps, recovered_weights
from mlprune.numeric.weights.layer_inputs import FeatureMoments, layer_error
from mlprune.processes import parallel
from tests.drawn import drawn
from tests.mlprune.numeric.refinement.refinement_reference import (
    allowed_swaps,
    correlated,
    looped_dsnot,
    looped_gram_swaps,
    looped_least_squares,
    moments_of,
    row_error,
    wanda_mask,
)

PROPERTY = settings(max_examples=20, deadline=None, derandomize=True, database=None)
GROUPS = {"row": 12, "matrix": 12, "2:4": 4, "1:2": 2, "3:4": 4}


def gram(d_in: int, seed: int = 9) -> Tensor:
    inputs = correlated(d_in, seed=seed)
    return inputs.T @ inputs


def errors_of(weight: Tensor, keep: Tensor, products: Tensor) -> list[float]:
    rows = zip(weight.double().tolist(), keep.tolist(), strict=True)
    return [row_error(row, kept, products.tolist()) for row, kept in rows]


def mask_of(structure: str, weight: Tensor, products: Tensor) -> Tensor:
    sparsity = int(structure[0]) / int(structure[2]) if ":" in structure else 0.5
    return wanda_mask(weight, products, structure, sparsity)


@pytest.mark.thorough("draws and compares many arrays")
@pytest.mark.parametrize("structure", GROUPS)
@pytest.mark.parametrize("swaps", [1, 2, 50])
def test_with_a_full_shortlist_each_swap_is_the_best_of_all(structure: str, swaps: int) -> None:
    weight, products = drawn(7, 12), gram(12)
    keep = mask_of(structure, weight, products)
    refined = gram_swaps(weight, keep, products=products, structure=structure, swaps=swaps, shortlist=12)
    assert refined.n_swaps is not None
    expected = looped_gram_swaps(weight, keep, products, group=GROUPS[structure], swaps=swaps)
    assert (refined.keep.tolist(), refined.n_swaps.tolist()) == expected
    assert refined.weight is None


@PROPERTY
@given(seed=st.integers(0, 99), structure=st.sampled_from(["row", "matrix", "2:4"]))
def test_rows_of_8_columns_end_in_a_state_that_no_single_swap_improves(seed: int, structure: str) -> None:
    weight, products = drawn(3, 8, seed=seed), gram(8, seed=seed)
    keep = mask_of(structure, weight, products)
    refined = gram_swaps(weight, keep, products=products, structure=structure, swaps=100)
    assert refined.n_swaps is not None
    assert (refined.n_swaps < 100).all()
    for row, kept in zip(weight.double().tolist(), refined.keep.tolist(), strict=True):
        error = row_error(row, kept, products.tolist())
        swaps = allowed_swaps(row, kept, products.tolist(), 4 if structure == "2:4" else 8)
        assert all(after >= error * (1 - 1e-9) for after, _, _ in swaps)


@PROPERTY
@given(
    seed=st.integers(0, 99),
    shortlist=st.integers(1, 5),
    swaps=st.integers(1, 4),
    structure=st.sampled_from(["row", "matrix", "2:4"]),
)
def test_a_swap_never_raises_the_error_and_keeps_the_sparsity_of_every_group(
    seed: int, shortlist: int, swaps: int, structure: str
) -> None:
    weight, products = drawn(4, 16, seed=seed), gram(16, seed=seed)
    keep = mask_of(structure, weight, products)
    before, masks = errors_of(weight, keep, products), [keep]
    for n in range(1, swaps + 1):
        refined = gram_swaps(weight, keep, products=products, structure=structure, swaps=n, shortlist=shortlist)
        after = errors_of(weight, refined.keep, products)
        assert refined.n_swaps is not None
        for i, count in enumerate(refined.n_swaps.tolist()):
            assert after[i] < before[i] if count == n else torch.equal(refined.keep[i], masks[-1][i])
        before = after
        masks.append(refined.keep)
        m = 4 if structure == "2:4" else 16
        assert torch.equal(refined.keep.reshape(-1, m).sum(1), keep.reshape(-1, m).sum(1))


def test_rows_are_refined_independently_of_their_order_and_of_the_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weight, products = drawn(40, 24), gram(24)
    keep, order = wanda_mask(weight, products), torch.randperm(40, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr("mlprune.numeric.refinement.gram_swaps._WEIGHTS_PER_CHUNK", 24 * 7)
    refined = gram_swaps(weight, keep, products=products)
    shuffled = gram_swaps(weight[order], keep[order], products=products)
    assert torch.equal(shuffled.keep, refined.keep[order])
    parallel.set_worker_threads(2)
    try:
        assert torch.equal(gram_swaps(weight, keep, products=products).keep, refined.keep)
    finally:
        parallel.set_worker_threads(1)


def test_a_copy_of_a_feature_that_wanda_removed_twice_is_restored_once() -> None:
    """Features 0 and 1 are the same: each alone is unimportant, together they are the largest part of the output."""
    inputs = drawn(500, 6, seed=3).double()
    inputs[:, 1] = inputs[:, 0]
    weight = torch.tensor([[1.0, 1.0, 1.1, 1.2, 1.3, 0.9]])
    products = inputs.T @ inputs
    keep = torch.tensor([[False, False, True, True, True, False]])
    refined = gram_swaps(weight, keep, products=products, swaps=1)
    assert refined.keep[0, :2].sum() == 1
    assert errors_of(weight, refined.keep, products)[0] < 0.8 * errors_of(weight, keep, products)[0]


def test_the_arguments_are_not_changed_and_float16_weights_are_read_exactly() -> None:
    weight, products = drawn(5, 12).half(), gram(12)
    keep = wanda_mask(weight, products)
    before = (weight.clone(), keep.clone(), products.clone())
    refined = gram_swaps(weight, keep, products=products)
    assert all(torch.equal(now, then) for now, then in zip((weight, keep, products), before, strict=True))
    assert torch.equal(refined.keep, gram_swaps(weight.double(), keep, products=products).keep)


def test_a_row_without_kept_or_removed_weights_and_features_that_are_never_active_are_no_problem() -> None:
    products = gram(6)
    products[2], products[:, 2] = 0, 0
    keep = torch.tensor([[True] * 6, [False] * 6, [True, True, True, False, False, False]])
    refined = gram_swaps(drawn(3, 6), keep, products=products, swaps=30)
    assert refined.n_swaps is not None
    assert refined.keep[:2].tolist() == keep[:2].tolist()
    assert refined.n_swaps[:2].tolist() == [0, 0]
    assert not refined.keep[2, 2]
    assert gram_swaps(torch.ones(0, 6), torch.ones(0, 6, dtype=torch.bool), products=products).keep.shape == (0, 6)


def test_impossible_arguments_are_refused() -> None:
    weight, products = drawn(2, 8), gram(8)
    keep = wanda_mask(weight, products)
    for options in ({"swaps": 0}, {"shortlist": 0}, {"structure": "column"}, {"structure": "4:4"}):
        with pytest.raises(BadInputError):
            gram_swaps(weight, keep, products=products, **options)  # type: ignore[arg-type]
    for wrong in ({"structure": "2:3"}, {"products": products[:7]}, {"keep": keep[:1]}, {"keep": keep.float()}):
        with pytest.raises(ShapeError):
            gram_swaps(**{"weight": weight, "keep": keep, "products": products, **wrong})  # type: ignore[arg-type]
    with pytest.raises(StatisticsError):
        gram_swaps(weight, keep, products=products.clone().fill_diagonal_(-1))
    with pytest.raises(StatisticsError):
        gram_swaps(weight * float("nan"), keep, products=products)


def layer(n_rows: int, d_in: int, structure: str = "row", seed: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    weight, inputs = drawn(n_rows, d_in, seed=seed), correlated(d_in, seed=seed)
    return weight, wanda_mask(weight, inputs.T @ inputs, structure), inputs


@pytest.mark.parametrize("structure", ["row", "matrix", "2:4"])
@pytest.mark.parametrize("ridge", [1e-6, 0.01, 1.0])
def test_weights_equal_least_squares_on_the_outputs(structure: str, ridge: float) -> None:
    weight, keep, inputs = layer(6, 12, structure)
    recovered = recovered_weights(weight, keep, products=inputs.T @ inputs, ridge=ridge)
    expected = looped_least_squares(weight, keep, inputs, ridge)
    torch.testing.assert_close(recovered.double(), expected, rtol=1e-5, atol=1e-7)
    assert recovered.dtype == torch.float32


@PROPERTY
@given(seed=st.integers(0, 99), ridge=st.sampled_from([1e-4, 0.01, 0.5]))
def test_the_error_never_rises_and_removed_weights_are_zero(seed: int, ridge: float) -> None:
    weight, keep, inputs = layer(4, 8, seed=seed)
    products = inputs.T @ inputs
    recovered = recovered_weights(weight, keep, products=products, ridge=ridge)
    assert (recovered[~keep] == 0).all()
    assert layer_error(weight, recovered, products) <= layer_error(weight, weight * keep, products) * (1 + 1e-6)


def test_rows_without_kept_weights_and_features_that_are_never_active_are_no_problem() -> None:
    weight, _, inputs = layer(3, 6)
    inputs[:, 1] = 0
    keep = torch.tensor([[True] * 6, [False] * 6, [True, True, True, False, False, False]])
    recovered = recovered_weights(weight, keep, products=inputs.T @ inputs)
    torch.testing.assert_close(recovered[0], weight[0])
    assert (recovered[1] == 0).all()
    assert recovered[2, 1] == weight[2, 1]
    silent = recovered_weights(weight, keep, products=torch.zeros(6, 6))
    assert torch.equal(silent, weight * keep)


def test_a_matrix_that_rounding_made_indefinite_gets_a_larger_ridge() -> None:
    products = torch.tensor([[1.0, 1.1, 0.0], [1.1, 1.0, 0.0], [0.0, 0.0, 1.0]])
    recovered = recovered_weights(torch.ones(1, 3), torch.tensor([[True, True, False]]), products=products, ridge=0.01)
    assert torch.equal(recovered, torch.tensor([[1.0, 1.0, 0.0]]))
    with pytest.raises(StatisticsError):
        recovered_weights(
            torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), products=torch.tensor([[1.0, 1e20], [1e20, 1.0]])
        )


def test_impossible_arguments_are_refused_of_least_squares() -> None:
    weight, keep, inputs = layer(2, 8)
    products = inputs.T @ inputs
    for ridge in (0.0, -1.0, float("nan")):
        with pytest.raises(BadInputError):
            recovered_weights(weight, keep, products=products, ridge=ridge)
    with pytest.raises(ShapeError):
        recovered_weights(weight, keep[:1], products=products)
    with pytest.raises(StatisticsError):
        recovered_weights(weight, keep, products=products * float("inf"))


DSNOT_GROUPS = {"row": 12, "matrix": 12, "2:4": 4, "1:2": 2, "4:6": 6}


def demonstrations(d_in: int, seed: int = 9) -> list[Tensor]:
    return [correlated(d_in, n_tokens=n, seed=seed + n) for n in (5, 9, 12)]


def dsnot_layer(n_rows: int, d_in: int, structure: str, seed: int = 0) -> tuple[Tensor, Tensor, list[Tensor]]:
    weight, texts = drawn(n_rows, d_in, seed=seed), demonstrations(d_in, seed=seed)
    together = torch.cat(texts)
    sparsity = int(structure[0]) / int(structure[2]) if ":" in structure else 0.5
    return weight, wanda_mask(weight, together.T @ together, structure, sparsity), texts


@pytest.mark.thorough("draws and compares many arrays")
@pytest.mark.parametrize("structure", DSNOT_GROUPS)
@pytest.mark.parametrize(("swaps", "threshold"), [(50, 0.1), (2, 0.0), (50, 1.0)])
def test_masks_and_swaps_equal_the_loops(structure: str, swaps: int, threshold: float) -> None:
    total = 0
    for seed in range(3):
        weight, keep, texts = dsnot_layer(9, 12, structure, seed=seed)
        refined = dsnot(weight, keep, moments=moments_of(texts), structure=structure, swaps=swaps, threshold=threshold)
        assert refined.n_swaps is not None
        group = DSNOT_GROUPS[structure]
        expected = looped_dsnot(weight, keep, texts, group=group, swaps=swaps, threshold=threshold)
        assert (refined.keep.tolist(), refined.n_swaps.tolist()) == expected
        total += int(refined.n_swaps.sum())
    assert total > 0


@PROPERTY
@given(seed=st.integers(0, 99), structure=st.sampled_from(["row", "2:4"]), swaps=st.integers(1, 8))
def test_the_sparsity_of_every_group_stays_the_same(seed: int, structure: str, swaps: int) -> None:
    weight, keep, texts = dsnot_layer(6, 16, structure, seed=seed)
    refined = dsnot(weight, keep, moments=moments_of(texts), structure=structure, swaps=swaps, threshold=0)
    m = 4 if structure == "2:4" else 16
    assert torch.equal(refined.keep.reshape(-1, m).sum(1), keep.reshape(-1, m).sum(1))
    assert refined.n_swaps is not None
    assert torch.equal((refined.keep & ~keep).sum(1), refined.n_swaps.long())
    assert (refined.n_swaps <= swaps).all()


def test_a_feature_without_variance_is_restored_first() -> None:
    texts = [torch.tensor([[3.0, 2.0, -1.0], [5.0, 2.0, -2.0]])]
    weight, keep = torch.ones(1, 3), torch.tensor([[False, False, True]])
    assert dsnot(weight, keep, moments=moments_of(texts), swaps=1).keep.tolist() == [[False, True, False]]


def test_impossible_arguments_are_refused_of_dsnot() -> None:
    weight, keep, texts = dsnot_layer(2, 8, "row")
    moments = moments_of(texts)
    for options in ({"swaps": 0}, {"threshold": -1.0}, {"threshold": float("nan")}, {"structure": "column"}):
        with pytest.raises(BadInputError):
            dsnot(weight, keep, moments=moments, **options)  # type: ignore[arg-type]
    with pytest.raises(ShapeError):
        dsnot(weight, keep, moments=moments_of([texts[0][:, :7]]))
    none = FeatureMoments(0, 0, moments.sums, moments.squares, moments.within_variances)
    negative = FeatureMoments(3, 9, moments.sums, moments.squares, -moments.within_variances)
    for wrong in (none, negative):
        with pytest.raises(StatisticsError):
            dsnot(weight, keep, moments=wrong)
