"""Keep masks, compared with sets."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.numeric.masks.keep_masks import combined_masks, jaccard_removed, top_bottom_overlap, top_features
from tests.refusals import refused

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)


@PROPERTY
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_jaccard_equals_its_definition_on_sets(pairs: list[tuple[bool, bool]]) -> None:
    a, b = ({i for i, pair in enumerate(pairs) if pair[side]} for side in (0, 1))
    expected = len(a & b) / len(a | b) if a | b else 1.0
    removed = torch.tensor(pairs)
    assert jaccard_removed(removed[:, 0], removed[:, 1]) == expected


def test_two_empty_removed_sets_are_equal() -> None:
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    assert jaccard_removed(nothing, nothing) == 1.0


def test_masks_of_different_shapes_are_an_error() -> None:
    a = torch.zeros(2, 3, dtype=torch.bool)
    for b in (torch.zeros(3, 2, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.uint8)):
        with refused(ShapeError, expected="torch.bool (2, 3)"):
            jaccard_removed(a, b)


def test_combined_masks_are_sets_of_kept_weights() -> None:
    kept = [{0, 1, 2, 3}, {0, 1, 4, 5}, {0, 2, 4, 6}]
    masks = [torch.tensor([[weight in one for weight in range(8)]]) for one in kept]
    expected = {
        "intersection": kept[0] & kept[1] & kept[2],
        "union": kept[0] | kept[1] | kept[2],
        "difference": kept[0] - kept[1] - kept[2],
    }
    for how, weights in expected.items():
        assert set(combined_masks(masks, how).nonzero()[:, 1].tolist()) == weights
    assert set(combined_masks(masks[:2], "symmetric_difference").nonzero()[:, 1].tolist()) == kept[0] ^ kept[1]


@pytest.mark.parametrize(("n", "how"), [(0, "union"), (1, "symmetric_difference"), (3, "symmetric_difference")])
def test_a_wrong_number_of_masks_to_combine_is_an_error(n: int, how: str) -> None:
    with pytest.raises(BadInputError, match="number of masks"):
        combined_masks([torch.ones(2, 2, dtype=torch.bool)] * n, how)


def test_masks_of_different_shape_or_type_are_not_combined() -> None:
    for other in (torch.ones(1, 2, dtype=torch.bool), torch.ones(2, 2, dtype=torch.uint8)):
        with refused(ShapeError, expected="torch.bool (2, 2)"):
            combined_masks([torch.ones(2, 2, dtype=torch.bool), other], "union")


MAGNITUDES = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=15)


@PROPERTY
@given(MAGNITUDES, st.data())
def test_the_largest_features_come_first_and_of_equal_ones_the_lower_index(values: list[float], data) -> None:
    k = data.draw(st.integers(0, len(values)))
    expected = sorted(range(len(values)), key=lambda feature: (-values[feature], feature))[:k]
    assert top_features(np.array(values), k).tolist() == expected


@PROPERTY
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=15), st.integers(5, 10))
def test_the_overlap_equals_its_definition_written_as_loops(pairs: list[tuple[int, int]], tenths: int) -> None:
    share, d = tenths / 10, len(pairs)
    k = round(share * d)
    top = sorted(range(d), key=lambda feature: (-pairs[feature][0], feature))[:k]
    bottom = sorted(range(d), key=lambda feature: (pairs[feature][1], feature))[:k]
    a, b = (np.array([float(pair[side]) for pair in pairs]) for side in (0, 1))
    assert top_bottom_overlap(a, b, share) == len(set(top) & set(bottom)) / k


def test_large_features_that_are_large_in_both_do_not_overlap_with_the_small() -> None:
    magnitudes = np.arange(10.0)
    assert top_bottom_overlap(magnitudes, magnitudes, 0.3) == 0.0
    assert top_bottom_overlap(magnitudes, -magnitudes, 0.3) == 1.0


def test_the_share_that_is_asked_is_the_share_that_is_used() -> None:
    a, b = np.arange(10.0), np.array([9, 8, 7, 6, 5, 4, 0, 1, 2, 3], dtype=float)
    assert top_bottom_overlap(a, b, 0.3) == 2 / 3
    assert top_bottom_overlap(a, b, 0.4) == 1.0


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, 0.04, math.nan])
def test_a_share_out_of_range_or_of_no_feature_is_an_error(share: float) -> None:
    with refused(BadInputError, expected="0 < share <= 1", n_features=10):
        top_bottom_overlap(np.arange(10.0), np.arange(10.0), share)


def test_magnitudes_of_unlike_shape_are_an_error() -> None:
    with refused(ShapeError, expected=3, got=4):
        top_bottom_overlap(np.ones(3), np.ones(4), 0.5)
    with refused(ShapeError, expected="[d]", got=(2, 2)):
        top_features(np.ones((2, 2)), 1)
    with refused(ShapeError, expected="[d]", got=(2, 2)):
        top_bottom_overlap(np.ones(4), np.ones((2, 2)), 0.5)


@pytest.mark.parametrize("k", [-1, 4])
def test_more_features_than_there_are_is_an_error(k: int) -> None:
    with refused(ShapeError, expected="0 <= k <= 3"):
        top_features(np.ones(3), k)


def test_a_magnitude_that_is_not_finite_is_an_error_that_names_the_feature() -> None:
    broken = np.array([1.0, math.nan, 2.0])
    with refused(StatisticsError, feature=1):
        top_features(broken, 1)
    with refused(StatisticsError, feature=1):
        top_bottom_overlap(np.ones(3), broken, 0.5)
