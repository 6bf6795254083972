"""The sections of a recipe, as the models have them."""

import pytest

from mlprune.recipe.demonstrations import ActivationsConfig
from mlprune.recipe.loading.sections import SECTIONS, keys_at
from mlprune.recipe.models import CorpusConfig
from mlprune.recipe.variants import ScopeConfig


def test_every_section_is_listed_in_the_order_of_a_recipe_and_inner_ones_follow_their_section() -> None:
    assert list(SECTIONS) == [
        "model",
        "corpus",
        "demonstrations",
        "activations",
        "variants",
        "schedule",
        "scope",
        "neurons",
        "baselines",
        "tasks",
        "data_sets",
        "evaluations",
        "questions",
        "searches",
        "levels",
        "method",
        "budget",
        "sensitivity",
        "analyses",
        "layer_errors",
        "compute",
    ]


@pytest.mark.parametrize(
    ("location", "model"),
    [
        (("corpus", "pth"), CorpusConfig),
        (("demonstrations", 0, "activations", "bloks"), ActivationsConfig),
        (("variants", 3, "scope", "blocs"), ScopeConfig),
    ],
)
def test_the_keys_next_to_a_key_are_those_of_its_section(
    location: tuple[int | str, ...], model: type[CorpusConfig]
) -> None:
    assert keys_at(location) == sorted(model.model_fields)


def test_exclude_is_a_key_of_entries_that_multiply_out_and_of_nothing_else() -> None:
    assert "exclude" in keys_at(("variants", 0, "exlude"))
    for location in (("variants", 0, "scope", "exlude"), ("evaluations", 0, "exlude"), ("exlude",)):
        assert "exclude" not in keys_at(location)


def test_fields_that_a_user_cannot_set_are_not_listed() -> None:
    assert "name" in keys_at(("folder",))
    assert not {"folder", "n_excluded"} & set(keys_at(("folder",)))
