"""Registry of search methods."""

from dataclasses import fields

import pytest

from mlprune.errors import RecipeError
from mlprune.search.method import ItemBudget, Settings, VariantBudget
from mlprune.search.registry import SEARCH_METHODS, build_method
from mlprune.search.space import Axis, Space

SPACE = Space((Axis("a", (1, 2)),))


def test_parameters_of_every_method_are_declared_for_the_recipe() -> None:
    assert all("bounds" in one.metadata for entry in SEARCH_METHODS.values() for one in fields(entry.parameters))


def test_an_unknown_method_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError) as caught:
        build_method("randm", SPACE, Settings())
    assert caught.value.context["nearest"] == "random"


@pytest.mark.parametrize("budget", [VariantBudget(0), ItemBudget(99)])
def test_a_budget_without_one_whole_trial_is_refused(budget: VariantBudget | ItemBudget) -> None:
    with pytest.raises(RecipeError):
        build_method("random", SPACE, Settings(rung_items=(10, 100), budget=budget))
