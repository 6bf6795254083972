"""Tokens of an objective."""

import pytest

from mlprune.errors import RecipeError
from mlprune.search.objective.tokens import tokens_of


def test_tokens_have_their_kind_and_position() -> None:
    tokens = tokens_of(" worst -0.5e-1*kept ")
    assert [(token.kind, token.text, token.position) for token in tokens] == [
        ("name", "worst", 2),
        ("symbol", "-", 8),
        ("number", "0.5e-1", 9),
        ("symbol", "*", 15),
        ("name", "kept", 16),
        ("end", "", 20),
    ]


def test_hyphens_and_colons_after_a_letter_belong_to_the_name() -> None:
    assert [token.text for token in tokens_of("pt-BR - script:Latn")] == ["pt-BR", "-", "script:Latn", ""]


@pytest.mark.parametrize(("text", "position"), [("worst / 2", 7), ("a > b", 3), ("2fr", 1), ("'fr'", 1), ("a ** $", 6)])
def test_other_characters_are_refused_with_their_position(text: str, position: int) -> None:
    with pytest.raises(RecipeError) as caught:
        tokens_of(text)
    assert caught.value.context["position"] == position
