"""Descriptions of variants, made from catalog rows."""

from typing import Any

import pytest

from mlprune.steps.variants.variant import COLUMNS
from mlprune.steps.variants.variant_text import (
    block_ranges,
    settings_words,
    value_words,
    variant_label,
)

DEFAULTS: dict[str, Any] = {**dict.fromkeys(COLUMNS), "sparsity": 0.5}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, []),
        ({"seed": 0, "removes": "lowest", "schedule": "uniform", "profile": "corrected", "token_scope": "all"}, []),
        ({"seed": 3}, ["seed 3"]),
        ({"score_parameters": {"power": 0.7}}, ["power 0.7"]),
        ({"score_parameters": {"power": 0.7, "permute": True}}, ["power 0.7", "permute"]),
        ({"schedule": "owl", "schedule_parameters": {"m": 4.0}}, ["schedule owl", "m 4"]),
        ({"schedule_parameters": {"layers": [["fc1", 0.25], ["fc2", 0.5]]}}, ["layers fc1 at 0.25 fc2 at 0.5"]),
        ({"aggregation_parameters": {"variance_weight": 2.0}}, ["variance weight 2"]),
        ({"intervention_parameters": {"layers": [[0, 2]], "limit": 4}}, ["layers 0-2", "limit 4"]),
        ({"scope": {"blocks": [0, 1, 2, 5], "layers": ["fc1"]}}, ["blocks 0-2 5", "layers fc1"]),
        ({"removes": "highest", "profile": "paper"}, ["removing the highest", "profile paper"]),
        ({"token_scope": "target", "n_demonstrations": 2}, ["target tokens", "2 samples"]),
    ],
)
def test_settings_that_are_not_defaults_have_phrases(columns: dict[str, Any], words: list[str]) -> None:
    assert list(settings_words(DEFAULTS | columns)) == words


def test_a_long_list_is_shortened_in_labels_and_other_lists_have_other_labels() -> None:
    lists = [[[n, 0.25] for n in range(24)], [[n, 0.5] for n in range(24)]]
    words = [list(settings_words(DEFAULTS | {"schedule_parameters": {"blocks": values}})) for values in lists]
    assert words[0] != words[1]
    assert all(one.startswith("blocks for 24 #") and len(one) == 23 for (one,) in words)


def test_a_label_has_score_sets_sparsity_structure_and_propagation() -> None:
    settings = {"score": "contrast", "structure": "row", "propagation": "dense"}
    row = DEFAULTS | settings | {"score_parameters": {"power": 1.5}}
    label = variant_label(row, sets=["fr-en"], contrast="code")
    assert label == "contrast fr-en against code 0.5 row dense power 1.5"
    assert variant_label(DEFAULTS) == "dense"
    assert variant_label(DEFAULTS | {"intervention": "self_translate"}) == "self-translate"


def test_objects_are_shown_as_phrases_and_other_values_as_they_are() -> None:
    assert value_words({"m": 4.0, "spread": 0.1}) == "m 4, spread 0.1"
    assert value_words("owl") == "owl"
    assert value_words({"blocks": [[n, 0.25] for n in range(24)]}).count("at 0.25") == 24


def test_runs_of_blocks_are_ranges() -> None:
    assert block_ranges([4]) == ["4"]
    assert block_ranges([0, 2, 3]) == ["0", "2-3"]
