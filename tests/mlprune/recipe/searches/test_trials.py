"""Keys of the entry that a trial is."""

import pytest

from mlprune.recipe.searches import trials
from mlprune.recipe.searches.trials import check_points, with_keys


def test_a_key_with_a_dot_is_set_in_its_section_and_the_entry_is_not_changed() -> None:
    entry = {"score": "wanda", "schedule": {"kind": "owl", "m": 3}}
    changed = with_keys(entry, {"schedule.spread": 0.1, "score": "ria", "scope.blocks": [1]})
    expected = {"score": "ria", "schedule": {"kind": "owl", "m": 3, "spread": 0.1}, "scope": {"blocks": [1]}}
    assert changed == expected
    assert entry == {"score": "wanda", "schedule": {"kind": "owl", "m": 3}}


def test_a_section_that_is_one_word_is_its_kind() -> None:
    assert with_keys({"schedule": "owl"}, {"schedule.m": 4})["schedule"] == {"kind": "owl", "m": 4}


def test_of_a_large_space_every_pair_of_values_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    space = {"sparsity": [0.1, 0.2, 0.5], "score": ["magnitude", "random"], "structure": ["row", "matrix", "2:4"]}
    monkeypatch.setattr(trials, "MAX_CHECKED", 10)
    with pytest.raises(ValueError, match=r"structure 2:4 has sparsity 0.5, got 0.1 \(with sparsity: 0.1"):
        check_points({}, space, None)
    check_points({}, {**space, "structure": ["row", "matrix", "alpha"]}, None)


def test_of_a_large_axis_every_value_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "MAX_CHECKED", 2)
    with pytest.raises(ValueError, match="less than 1"):
        check_points({"score": "magnitude"}, {"sparsity": [0.1, 0.2, 1.0]}, None)
