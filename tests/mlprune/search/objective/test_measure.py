"""Measures of an objective."""

import pytest

from mlprune.search.objective.measure import Group, parse_group


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("outside_english", Group("outside_english")),
        ("worst", Group("worst")),
        ("english", Group("language", "en")),
        ("fra_Latn", Group("language", "fr")),
        ("zh-Hant", Group("language", "zh-Hant")),
        ("pt-BR", Group("language", "pt-BR")),
        ("fr-en", Group("language", "fr-en")),
        ("pt-BR-en", Group("language", "pt-BR-en")),
        ("script:Latn", Group("script", "Latn")),
        ("class:2", Group("resource_class", "2")),
        ("resource_class:2", Group("resource_class", "2")),
    ],
)
def test_names_of_groups_are_those_of_the_recipe(text: str, group: Group) -> None:
    assert parse_group(text) == group
    assert parse_group(str(group)) == group


@pytest.mark.parametrize("text", ["accuracy", "script:latin", "class:7", "f", ""])
def test_other_names_are_not_groups(text: str) -> None:
    assert parse_group(text) is None
