"""Keep masks, compared with sets."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError, ShapeError
from mlprune.numeric.masks.keep_masks import combined_masks, jaccard_removed

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
        with pytest.raises(ShapeError, match="differ in shape or dtype"):
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
        with pytest.raises(ShapeError, match="differ in shape or dtype"):
            combined_masks([torch.ones(2, 2, dtype=torch.bool), other], "union")
