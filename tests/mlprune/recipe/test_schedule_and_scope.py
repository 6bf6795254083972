"""Schedules and scopes of a recipe."""

from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.methods import AlphaPruningParameters, DlpParameters, OwlParameters
from mlprune.recipe import VariantConfig
from tests.valid_recipe import parse, with_keys


def entry(**keys: Any) -> VariantConfig:
    """The wanda variant of the good recipe, with some keys changed."""
    return parse(with_keys("variants.0", **keys)).variants[0]


def test_a_schedule_is_a_name_or_a_mapping_and_blocks_or_layers_imply_given() -> None:
    assert entry(schedule="owl").schedule == entry(schedule={"kind": "owl"}).schedule
    assert entry(schedule="owl").schedule.method_parameters == OwlParameters(5.0, 0.08)
    assert entry(schedule={"kind": "dlp", "spread": 0.1}).schedule.method_parameters == DlpParameters("mean", 0.1)
    wide = entry(schedule={"kind": "alpha_pruning", "spread": 0.6}).schedule.method_parameters
    assert wide == AlphaPruningParameters("peak", 0.6)
    given = entry(schedule={"blocks": {1: 0.6, 0: 0.2}, "layers": {"fc2": 0.1, "fc1": 0.3}}).schedule
    assert (given.kind, given.blocks, given.layers) == (
        "given",
        ((0, 0.2), (1, 0.6)),
        (("fc1", 0.3), ("fc2", 0.1)),
    )


def test_blocks_are_numbers_and_spans() -> None:
    assert entry(scope={"blocks": [0, "4-6", 9]}).scope.blocks == (0, 4, 5, 6, 9)
    assert entry(scope={"without_blocks": "2-2"}).scope.without_blocks == (2,)
    assert entry(scope={"blocks": 3}).scope.blocks == (3,)


def test_from_alone_is_schedule_sensitivity_with_its_keys() -> None:
    schedule = entry(schedule={"from": "where", "by": "layer", "group": "script:Latn"}).schedule
    assert (schedule.kind, schedule.source, schedule.by, schedule.at) == ("sensitivity", "where", "layer", None)
    assert (schedule.method_parameters.group, schedule.method_parameters.spread) == ("script:Latn", 0.08)


@pytest.mark.parametrize(
    "schedule",
    [{"kind": "sensitivity"}, {"kind": "owl", "from": "where"}, {"group": "all"}, {"from": "w", "group": "?"}],
)
def test_keys_of_losses_belong_to_schedule_sensitivity(schedule: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        entry(schedule=schedule)


@pytest.mark.parametrize(
    ("schedule", "key"),
    [
        ({"spread": 0.3}, "spread"),
        ({"kind": "owl", "statistic": "median"}, "statistic"),
        ({"kind": "dlp", "m": 3}, "m"),
        ({"kind": "uniform", "m": 3}, "m"),
        ({"blocks": {0: 0.1}, "spread": 0.1}, "spread"),
    ],
)
def test_a_key_of_another_schedule_is_refused(schedule: dict[str, object], key: str) -> None:
    with pytest.raises(RecipeError) as caught:
        entry(schedule=schedule)
    assert caught.value.message.split()[0] == key
    assert caught.value.context["key"] == "variants.0.schedule"
