"""Scripts of texts and what they say about languages."""

import pytest

from mlprune.evaluation.languages.scripts import is_in_script_of, main_scripts, script_suffices


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        ("Le chat dort.", ("Latn",)),
        ("Кошка спит, the cat.", ("Cyrl",)),
        ("बिल्ली सो रही है", ("Deva",)),
        ("猫在睡觉", ("Hans", "Hant")),
        ("日本語の文です。猫が寝ている", ("Jpan",)),
        ("他写了一个の字,然后继续读书", ("Hans", "Hant")),
        ("고양이가 잔다", ("Hang",)),
        ("แมวหลับ", ("Thai",)),
        ("12 ... 34", ()),
        ("", ()),
    ],
)
def test_most_letters_decide(text: str, scripts: tuple[str, ...]) -> None:
    assert main_scripts(text) == scripts


def test_a_language_is_expected_in_its_usual_script_or_that_of_its_tag() -> None:
    assert is_in_script_of("猫在睡觉", "zh-Hant")
    assert not is_in_script_of("The cat sleeps.", "hi")
    assert is_in_script_of("Mačka spava.", "sr-Latn")
    assert not is_in_script_of("Mačka spava.", "sr")
    assert is_in_script_of("anything", "xx-Brai")
    assert not is_in_script_of("Кошка спит.", "pt-BR")


def test_scripts_of_several_languages_do_not_suffice() -> None:
    assert [tag for tag in ("fr", "ru", "ar", "hi", "zh", "ja", "th", "ko", "el") if script_suffices(tag)] == [
        "zh",
        "ja",
        "th",
        "ko",
        "el",
    ]
