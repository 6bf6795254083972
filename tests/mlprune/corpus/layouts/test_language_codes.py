"""Codes of publishers as tags."""

import pytest

from mlprune.corpus.layouts.language_codes import is_known_language, matching_codes, published_tag


@pytest.mark.parametrize(
    ("code", "tag"),
    [
        ("fra_Latn", "fr"),
        ("cmn_Hans", "zh"),
        ("zho_Hant", "zh-Hant"),
        ("zho_trad", "zh-Hant"),
        ("zho-TW", "zh-Hant"),
        ("zh-CN", "zh"),
        ("swa", "sw"),
        ("bos_Latn", "bs"),
        ("srp-Latn", "sr-Latn"),
        ("arb_Latn", "ar-Latn"),
        ("pt_br", "pt-BR"),
        ("apc_Arab_nort3139", "apc-nort3139"),
        ("newstest", "newstest"),
    ],
)
def test_a_published_code_becomes_the_tag_of_a_recipe(code: str, tag: str) -> None:
    assert published_tag(code) == tag


def test_a_tag_matches_its_spelling_first_then_its_script_then_the_only_region() -> None:
    assert matching_codes("fr", ["fra_Latn", "fr"]) == ("fr",)
    assert matching_codes("zh", ["zho_Hant", "cmn_Hans"]) == ("cmn_Hans",)
    assert matching_codes("zh", ["zho_Hant"]) == ()
    assert matching_codes("en", ["en-US", "fr-FR"]) == ("en-US",)
    assert matching_codes("apc", ["apc_Arab_nort3139", "apc_Arab_sout3123"]) == (
        "apc_Arab_nort3139",
        "apc_Arab_sout3123",
    )
    assert matching_codes("apc-Arab_nort3139", ["apc_Arab_nort3139", "apc_Arab_sout3123"]) == ("apc_Arab_nort3139",)
    assert matching_codes("pt-PT", ["pt-BR"]) == ()


def test_extensions_and_columns_that_are_no_languages_are_not_known() -> None:
    assert [is_known_language(code) for code in ("fr", "swh", "sr_Latn", "txt", "label", "x")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
