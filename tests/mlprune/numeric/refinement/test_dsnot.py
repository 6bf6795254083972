"""DSnoT, compared with loops over the tokens, and properties of its masks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.numeric.refinement.dsnot import dsnot
from mlprune.numeric.weights.layer_inputs import FeatureMoments
from tests.drawn import drawn
from tests.mlprune.numeric.refinement.refinement_reference import correlated, looped_dsnot, moments_of, wanda_mask

PROPERTY = settings(max_examples=20, deadline=None, derandomize=True, database=None)
GROUPS = {"row": 12, "matrix": 12, "2:4": 4, "1:2": 2, "4:6": 6}


def demonstrations(d_in: int, seed: int = 9) -> list[Tensor]:
    return [correlated(d_in, n_tokens=n, seed=seed + n) for n in (5, 9, 12)]


def layer(n_rows: int, d_in: int, structure: str, seed: int = 0) -> tuple[Tensor, Tensor, list[Tensor]]:
    weight, texts = drawn(n_rows, d_in, seed=seed), demonstrations(d_in, seed=seed)
    together = torch.cat(texts)
    sparsity = int(structure[0]) / int(structure[2]) if ":" in structure else 0.5
    return weight, wanda_mask(weight, together.T @ together, structure, sparsity), texts


@pytest.mark.parametrize("structure", GROUPS)
@pytest.mark.parametrize(("swaps", "threshold"), [(50, 0.1), (2, 0.0), (50, 1.0)])
def test_masks_and_swaps_equal_the_loops(structure: str, swaps: int, threshold: float) -> None:
    total = 0
    for seed in range(3):
        weight, keep, texts = layer(9, 12, structure, seed=seed)
        refined = dsnot(weight, keep, moments=moments_of(texts), structure=structure, swaps=swaps, threshold=threshold)
        assert refined.n_swaps is not None
        group = GROUPS[structure]
        expected = looped_dsnot(weight, keep, texts, group=group, swaps=swaps, threshold=threshold)
        assert (refined.keep.tolist(), refined.n_swaps.tolist()) == expected
        total += int(refined.n_swaps.sum())
    assert total > 0


@PROPERTY
@given(seed=st.integers(0, 99), structure=st.sampled_from(["row", "2:4"]), swaps=st.integers(1, 8))
def test_the_sparsity_of_every_group_stays_the_same(seed: int, structure: str, swaps: int) -> None:
    weight, keep, texts = layer(6, 16, structure, seed=seed)
    refined = dsnot(weight, keep, moments=moments_of(texts), structure=structure, swaps=swaps, threshold=0)
    m = 4 if structure == "2:4" else 16
    assert torch.equal(refined.keep.reshape(-1, m).sum(1), keep.reshape(-1, m).sum(1))
    assert refined.n_swaps is not None
    assert torch.equal((refined.keep & ~keep).sum(1), refined.n_swaps.long())
    assert (refined.n_swaps <= swaps).all()


def test_a_removed_feature_with_a_large_mean_is_restored_and_one_of_the_other_sign_is_removed() -> None:
    texts = [torch.tensor([[3.0, 1.0, -1.0, 0.1], [2.5, 1.2, -1.1, 0.2], [3.5, 0.8, -0.9, 0.0]])]
    weight, keep = torch.ones(1, 4), torch.tensor([[False, True, True, False]])
    refined = dsnot(weight, keep, moments=moments_of(texts))
    assert refined.keep.tolist() == [[True, True, False, False]]


def test_a_feature_without_variance_is_restored_first() -> None:
    texts = [torch.tensor([[3.0, 2.0, -1.0], [5.0, 2.0, -2.0]])]
    weight, keep = torch.ones(1, 3), torch.tensor([[False, False, True]])
    assert dsnot(weight, keep, moments=moments_of(texts), swaps=1).keep.tolist() == [[False, True, False]]


def test_impossible_arguments_are_refused() -> None:
    weight, keep, texts = layer(2, 8, "row")
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
