"""The recipe reference has every key that a recipe can have."""

import re

import pytest

from infra.pages.recipe_reference import recipe_reference
from mlprune.recipe import Recipe
from mlprune.recipe.combinations import HIDDEN, SECTIONS


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    """Heading -> the text below it."""
    _, *parts = re.split(r"^## (.+)$", recipe_reference(), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_section_that_a_user_can_set_is_listed(sections: dict[str, str]) -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", sections["The sections"], flags=re.MULTILINE))
    assert listed == set(Recipe.model_fields) - HIDDEN


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_of_a_section_is_listed_with_a_meaning(sections: dict[str, str], name: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| ([^|]+) \|$", sections[f"`{name}`"], flags=re.MULTILINE))
    assert set(SECTIONS[name].model_fields) <= set(rows)
    assert all(meaning.strip() for meaning in rows.values())


def test_keys_of_each_kind_of_demonstration_set_are_listed(sections: dict[str, str]) -> None:
    assert "| `translation` | `source`, `target` | `pair` |" in sections["`demonstrations`"]


def test_a_model_in_a_field_has_a_section_to_link_to(sections: dict[str, str]) -> None:
    for text in sections.values():
        for anchor in re.findall(r"\]\(#(\w+)\)", text):
            assert f"`{anchor}`" in sections
