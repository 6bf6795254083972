"""Groups of languages in questions."""

import pytest

from mlprune.recipe.questions.language_groups import LanguageGroup, language_group


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("outside_english", LanguageGroup("outside_english")),
        ("all", LanguageGroup("all")),
        ("worst", LanguageGroup("worst")),
        ("script:Arab", LanguageGroup("script", "Arab")),
        ("resource_class:2", LanguageGroup("resource_class", "2")),
        ("swh_Latn", LanguageGroup("language", "sw")),
        ("fra_Latn-eng_Latn", LanguageGroup("language", "fr-en")),
    ],
)
def test_a_group_is_named_by_its_kind_or_by_its_language(text: str, expected: LanguageGroup) -> None:
    assert language_group(text) == expected
    assert language_group(expected.text) == expected


@pytest.mark.parametrize("text", ["script:latin", "resource_class:6", "outside english", "x"])
def test_other_texts_are_no_group(text: str) -> None:
    with pytest.raises(ValueError, match="outside_english"):
        language_group(text)
