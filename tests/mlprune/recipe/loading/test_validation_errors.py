"""The first error of a recipe as one line."""

from collections.abc import Callable
from typing import Any

import pytest

from mlprune.errors import RecipeError
from tests.valid_recipe import changed, parse, with_keys


@pytest.mark.parametrize(
    ("keys", "place", "nearest"),
    [
        ({"scope": {"blocs": [0]}}, "variants.0.scope.blocs", "blocks"),
        ({"scope": {"without_layer": ["fc1"]}}, "variants.0.scope.without_layer", "without_layers"),
        ({"schedule": {"kind": "owl", "spred": 0.1}}, "variants.0.schedule.spred", "spread"),
    ],
)
def test_an_unknown_key_in_a_section_of_a_variant_is_reported_with_the_keys_of_that_section(
    keys: dict[str, Any], place: str, nearest: str
) -> None:
    with pytest.raises(RecipeError, match="unknown key") as caught:
        parse(with_keys("variants.0", **keys))
    assert (caught.value.context["key"], caught.value.context["nearest"]) == (place, nearest)
    assert "sparsity" not in caught.value.context["expected"]


def test_an_unknown_key_in_activations_is_reported_with_the_keys_of_activations() -> None:
    with pytest.raises(RecipeError, match="unknown key") as caught:
        parse(with_keys("demonstrations.0", activations={"bloks": [1], "quota_gib": 1}))
    context = caught.value.context
    assert (context["key"], context["nearest"]) == ("demonstrations.0.activations.bloks", "blocks")
    assert context["expected"] == ["blocks", "dtype", "inputs", "quota_gib", "samples"]


def test_further_complaints_are_counted() -> None:
    value = changed("model.dtype", "float64")
    value["corpus"]["lines"] = 0
    with pytest.raises(RecipeError) as caught:
        parse(value)
    assert caught.value.context["more_errors"] == 1


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
@pytest.mark.parametrize(
    ("value", "key"),
    [
        (lambda number: with_keys("variants.0", score="ria", power=number), "variants.0.power"),
        (
            lambda number: with_keys("variants.0", structure="row", schedule={"kind": "owl", "m": number}),
            "variants.0.schedule.m",
        ),
        (lambda number: with_keys("variants.4", shares=[number, 1.0]), "variants.4.shares.0"),
        (lambda number: changed("compute.memory_gib_per_actor", number), "compute.memory_gib_per_actor"),
    ],
)
def test_a_number_that_is_not_finite_is_refused_with_its_key(
    value: Callable[[float], dict[str, Any]], key: str, number: float
) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(value(number))
    assert caught.value.context["key"] == key
    assert caught.value.context["expected"] == "a finite number"


def test_an_expected_number_is_described_by_its_bound() -> None:
    with pytest.raises(RecipeError) as caught:
        parse(with_keys("variants.0", score="ria", power=0.0))
    assert (caught.value.context["key"], caught.value.context["expected"]) == ("variants.0.power", "a number > 0")


def test_the_message_of_a_validator_is_the_message_of_the_error() -> None:
    with pytest.raises(RecipeError) as caught:
        parse(changed("corpus.path", "texts"))
    assert caught.value.message == "path does not apply to kind cldr, only to parallel_text"
    assert caught.value.context == {"where": "recipe", "key": "corpus"}


def test_an_unknown_name_is_reported_with_the_index_of_its_entry() -> None:
    with pytest.raises(RecipeError) as caught:
        parse(changed("variants.1.demonstrations", "mtt"))
    assert (caught.value.message, caught.value.context["key"]) == (
        "unknown name in demonstrations",
        "variants.1.demonstrations",
    )
