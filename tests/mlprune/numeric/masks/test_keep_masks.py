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


def test_masks_that_do_not_fit_each_other_or_the_combination_are_errors() -> None:
    for n, how in ((0, "union"), (1, "symmetric_difference"), (3, "symmetric_difference")):
        with pytest.raises(BadInputError):
            combined_masks([torch.ones(2, 2, dtype=torch.bool)] * n, how)
    mask = torch.zeros(2, 3, dtype=torch.bool)
    for other in (torch.zeros(3, 2, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.uint8)):
        with refused(ShapeError, expected="torch.bool (2, 3)"):
            jaccard_removed(mask, other)
        with refused(ShapeError, expected="torch.bool (2, 3)"):
            combined_masks([mask, other], "union")


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


def test_shares_numbers_and_magnitudes_out_of_range_are_errors() -> None:
    for share in (0.0, -0.1, 1.1, 0.04, math.nan):
        with refused(BadInputError, expected="0 < share <= 1", n_features=10):
            top_bottom_overlap(np.arange(10.0), np.arange(10.0), share)
    for k in (-1, 4):
        with refused(ShapeError, expected="0 <= k <= 3"):
            top_features(np.ones(3), k)
    with refused(ShapeError, expected=3, got=4):
        top_bottom_overlap(np.ones(3), np.ones(4), 0.5)
    with refused(ShapeError, expected="[d]", got=(2, 2)):
        top_features(np.ones((2, 2)), 1)
    with refused(ShapeError, expected="[d]", got=(2, 2)):
        top_bottom_overlap(np.ones(4), np.ones((2, 2)), 0.5)
    broken = np.array([1.0, math.nan, 2.0])
    with refused(StatisticsError, feature=1):
        top_features(broken, 1)
    with refused(StatisticsError, feature=1):
        top_bottom_overlap(np.ones(3), broken, 0.5)
