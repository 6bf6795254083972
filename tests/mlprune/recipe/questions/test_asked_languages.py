"""Groups of languages in questions."""

import pytest

from mlprune.recipe.questions.asked_languages import AskedLanguages, asked_languages


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("outside_english", AskedLanguages("outside_english")),
        ("all", AskedLanguages("all")),
        ("worst", AskedLanguages("worst")),
        ("script:Arab", AskedLanguages("script", "Arab")),
        ("resource_class:2", AskedLanguages("resource_class", "2")),
        ("swh_Latn", AskedLanguages("language", "sw")),
        ("fra_Latn-eng_Latn", AskedLanguages("language", "fr-en")),
    ],
)
def test_a_group_is_named_by_its_kind_or_by_its_language(text: str, expected: AskedLanguages) -> None:
    assert asked_languages(text) == expected
    assert asked_languages(expected.text) == expected


@pytest.mark.parametrize("text", ["script:latin", "resource_class:6", "outside english", "x"])
def test_other_texts_are_no_group(text: str) -> None:
    with pytest.raises(ValueError, match="outside_english"):
        asked_languages(text)
