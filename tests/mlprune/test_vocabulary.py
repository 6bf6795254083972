"""Language tags: what is stored, and under which names files are looked up."""

import pytest

from mlprune.languages import DEFAULT_SCRIPTS, ISO_639_3, language_file_stems, language_tag
from mlprune.store.record_kinds import RECORD_KINDS


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("fr", "fr"),
        ("FR", "fr"),
        ("fra", "fr"),
        ("fra_Latn", "fr"),
        ("fra-Latn", "fr"),
        ("zh", "zh"),
        ("zho_Hans", "zh"),
        ("zh-Hans", "zh"),
        ("zho_Hant", "zh-Hant"),
        ("zh-hant", "zh-Hant"),
        ("zho_hans", "zh"),
        ("swh_Latn", "sw"),
        ("arb_Arab", "ar"),
        ("arb_Latn", "ar-Latn"),
        ("rus_Cyrl", "ru"),
        ("hin_Deva", "hi"),
        ("srp_Cyrl", "sr"),
        ("srp_Latn", "sr-Latn"),
        ("ell_Grek", "el"),
        ("kor_Hang", "ko"),
        ("jpn_Jpan", "ja"),
        ("quy_Latn", "qu"),
        ("ace_Latn", "ace"),
        ("ace_Arab", "ace-Arab"),
        ("pt-BR", "pt-BR"),
    ],
)
def test_tags_are_iso_639_1_with_a_script_only_where_it_is_unusual(name: str, tag: str) -> None:
    assert language_tag(name) == tag
    assert language_tag(tag) == tag


@pytest.mark.parametrize(
    ("tag", "stems"),
    [
        ("fr", ("fr", "fra_Latn")),
        ("zh", ("zh", "zho_Hans")),
        ("zh-Hant", ("zh-Hant", "zho_Hant")),
        ("sw", ("sw", "swh_Latn")),
        ("ar", ("ar", "arb_Arab")),
        ("sr-Latn", ("sr-Latn", "srp_Latn")),
        ("ace", ("ace", "ace_Latn")),
    ],
)
def test_files_are_looked_up_by_tag_then_by_the_long_name(tag: str, stems: tuple[str, ...]) -> None:
    assert language_file_stems(tag) == stems


@pytest.mark.parametrize("long", ISO_639_3)
def test_every_long_name_leads_back_to_its_own_file(long: str) -> None:
    short = ISO_639_3[long]
    flores = f"{long}_{DEFAULT_SCRIPTS.get(short, 'Latn')}"
    assert language_tag(flores) == short
    assert flores in language_file_stems(short)


def test_short_codes_are_used_once_and_scripts_belong_to_known_languages() -> None:
    assert len(set(ISO_639_3.values())) == len(ISO_639_3)
    assert set(DEFAULT_SCRIPTS) <= set(ISO_639_3.values())


def test_versions_of_record_kinds_are_positive() -> None:
    assert all(isinstance(kind.version, int) and kind.version >= 1 for kind in RECORD_KINDS.values())
