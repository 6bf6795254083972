"""Codes of publishers as tags."""

import pytest

from mlprune.corpus.layouts.text_layout import is_known_language, matching_codes, recipe_tags
from mlprune.languages import language_tag


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
    assert recipe_tags([code]) == {code: tag}


FLORES = ("kor_Hang", "crh_Latn", "quy_Latn", "pes_Arab", "prs_Arab", "aka_Latn", "twi_Latn", "apc_Arab", "ajp_Arab")
FLORES += ("tgl_Latn", "arb_Arab", "arb_Latn", "zho_Hans", "zho_Hant", "yue_Hant", "swh_Latn", "asm_Beng")
"""Codes of FLORES-200 that are hard to tell apart, or whose likely script in CLDR is another one."""


@pytest.mark.parametrize("code", FLORES)
def test_every_code_of_flores_is_read_under_its_own_name_and_under_the_tag_that_is_shown(code: str) -> None:
    for written in (code, recipe_tags(FLORES)[code]):
        assert matching_codes(language_tag(written), FLORES) == (code,)


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
