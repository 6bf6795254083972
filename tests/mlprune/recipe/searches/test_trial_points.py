"""Points that are checked before a search starts."""

import pytest

from mlprune.recipe.searches import trial_points
from mlprune.recipe.searches.trial_points import check_points


def test_of_a_large_space_every_pair_of_values_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    space = {"sparsity": [0.1, 0.2, 0.5], "score": ["magnitude", "random"], "structure": ["row", "matrix", "2:4"]}
    monkeypatch.setattr(trial_points, "MAX_CHECKED", 10)
    with pytest.raises(ValueError, match=r"structure 2:4 has sparsity 0.5, got 0.1 \(with sparsity: 0.1"):
        check_points({}, space, None)
    check_points({}, {**space, "structure": ["row", "matrix", "alpha"]}, None)


def test_of_a_large_axis_every_value_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_points, "MAX_CHECKED", 2)
    with pytest.raises(ValueError, match="less than 1"):
        check_points({"score": "magnitude"}, {"sparsity": [0.1, 0.2, 1.0]}, None)
