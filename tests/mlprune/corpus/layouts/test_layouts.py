"""Layouts of published parallel text."""

import logging
from pathlib import Path

import pytest

from mlprune.corpus.layouts.parallel_text import TEXT_LAYOUTS, choose_split, recognise
from mlprune.corpus.layouts.text_layout import TextDocument, is_known_language, matching_codes, recipe_tags
from mlprune.corpus.sources import CldrCorpus, ParallelCorpus
from mlprune.errors import CorpusError
from mlprune.languages import language_tag
from tests.published_text import SENTENCES, TEXT_WRITERS, VARIANTS, flores_parquet, lines, writer
from tests.refusals import refused

WIKINEWS = [TextDocument(url, "wikinews") for url in "uuv"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_flores_tells_the_page_and_domain_of_a_sentence_in_every_language(tmp_path: Path, variant: str) -> None:
    TEXT_WRITERS["FLORES"](writer(tmp_path, variant))
    for path in (tmp_path, tmp_path / "flores200_dataset" / "dev"):
        corpus = ParallelCorpus(path, "dev")
        assert [list(corpus.documents(language)) for language in ("en", "fr", "zh")] == [WIKINEWS] * 3
    assert list(ParallelCorpus(tmp_path, "test").documents("fr")) == WIKINEWS[1:]


@pytest.mark.parametrize("on_hub", [False, True])
def test_tables_of_flores_tell_them_in_columns_in_the_order_of_the_ids(tmp_path: Path, on_hub: bool) -> None:
    flores_parquet(tmp_path, on_hub=on_hub)
    assert list(ParallelCorpus(tmp_path, "dev").documents("zh")) == WIKINEWS


@pytest.mark.parametrize("folder", [".", "NTREX-128"])
def test_ntrex_lists_documents_in_a_file_of_its_repository(tmp_path: Path, folder: str) -> None:
    TEXT_WRITERS["NTREX-128"](writer(tmp_path))
    documents = ParallelCorpus(tmp_path / folder).documents("fr")
    assert documents == (TextDocument("bbc.1"), TextDocument("bbc.1"), TextDocument("rt.com.2"))


@pytest.mark.parametrize("language", ["en", "fr", "zh"])
def test_wmt_names_documents_and_domains_without_those_of_bad_sources(tmp_path: Path, language: str) -> None:
    TEXT_WRITERS["WMT24++"](writer(tmp_path))
    assert list(ParallelCorpus(tmp_path).documents(language)) == [TextDocument(name, "news") for name in "uuv"]


def test_a_row_of_wmt_without_a_key_is_an_error(tmp_path: Path) -> None:
    TEXT_WRITERS["WMT24++"](writer(tmp_path))
    path = tmp_path / "en-fr_FR.jsonl"
    path.write_text(path.read_text() + '{"source": "a", "target": "b"}\n')
    with refused(CorpusError, line=6, missing=["document_id", "is_bad_source", "segment_id"]):
        ParallelCorpus(tmp_path).lines("fr")


@pytest.mark.parametrize("name", ["plain folder", "Moses", "table with a header", "TMX"])
def test_other_layouts_tell_none(tmp_path: Path, name: str) -> None:
    TEXT_WRITERS[name](writer(tmp_path))
    assert ParallelCorpus(tmp_path).documents("fr") == ()


def test_the_built_in_corpus_has_none() -> None:
    assert CldrCorpus(n_lines=3, seed=0).documents("fr") == ()


def test_documents_of_other_lines_are_ignored_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    TEXT_WRITERS["NTREX-128"](writer(tmp_path))
    (tmp_path / "DOCUMENT_IDS.tsv").write_text("bbc.1\n")
    with caplog.at_level(logging.WARNING):
        assert ParallelCorpus(tmp_path).documents("fr") == ()
    assert "1 are listed for 3 sentences" in caplog.text


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", TEXT_WRITERS)
def test_every_layout_reads_the_published_files_in_every_form(tmp_path: Path, name: str, variant: str) -> None:
    TEXT_WRITERS[name](writer(tmp_path, variant))
    corpus = ParallelCorpus(tmp_path)
    assert {language: corpus.lines(language) for language in SENTENCES} == SENTENCES
    assert corpus.recognised.layout.name in (name, "FLORES")


@pytest.mark.parametrize("on_hub", [True, False])
def test_parquet_of_flores_is_read_in_the_order_of_the_ids(tmp_path: Path, on_hub: bool) -> None:
    flores_parquet(tmp_path, on_hub=on_hub)
    corpus = ParallelCorpus(tmp_path, "test")
    assert (corpus.split, corpus.recognised.layout.name) == ("devtest", "FLORES as Parquet")
    assert {language: corpus.lines(language) for language in SENTENCES} == SENTENCES
    assert set(TEXT_LAYOUTS) == {*TEXT_WRITERS, "FLORES as Parquet"} - {"FLORES+"}


def test_a_path_is_the_root_the_folder_or_one_split_of_a_published_text(tmp_path: Path) -> None:
    TEXT_WRITERS["FLORES"](writer(tmp_path))
    for path, split, n_sentences in (
        (tmp_path, None, 3),
        (tmp_path / "flores200_dataset", "dev", 3),
        (tmp_path / "flores200_dataset", "test", 2),
        (tmp_path / "flores200_dataset", "devtest", 2),
        (tmp_path / "flores200_dataset" / "devtest", None, 2),
    ):
        assert len(ParallelCorpus(path, split).lines("fr")) == n_sentences
    for path, split in ((tmp_path, "train"), (tmp_path / "flores200_dataset" / "dev", "test")):
        with pytest.raises(CorpusError) as caught:
            ParallelCorpus(path, split).lines("fr")
        assert caught.value.context["expected"][0] == "dev"
    TEXT_WRITERS["FLORES+"](writer(tmp_path))
    with refused(CorpusError, got=["flores200_dataset", "floresp-v2.0"]):
        recognise(tmp_path)


def test_folders_named_after_splits_are_one_text(tmp_path: Path) -> None:
    for split in ("train", "test"):
        writer(tmp_path)(f"{split}/fr.txt", lines((split,)))
    assert ParallelCorpus(tmp_path, "test").lines("fr") == ("test",)
    with refused(CorpusError, expected=["test", "train"]):
        ParallelCorpus(tmp_path).lines("fr")


def test_languages_are_found_by_tag_code_script_and_region(tmp_path: Path) -> None:
    TEXT_WRITERS["NTREX-128"](writer(tmp_path))
    corpus = ParallelCorpus(tmp_path)
    names = {
        tag: corpus.source(tag).code for tag in ("en", "fr", "fra_Latn", "fr-CA", "zh", "zh-CN", "zh-TW", "zh-Hant")
    }
    assert list(names.values()) == ["eng", "fra", "fra", "fra-CA", "zho-CN", "zho-CN", "zho-TW", "zho-TW"]
    with refused(CorpusError, expected=["en", "en-GB", "es", "fr", "fr-CA", "zh", "zh-Hant"]):
        corpus.lines("sw")


def test_ambiguous_languages_and_texts_are_errors_that_name_the_choices(tmp_path: Path) -> None:
    write = writer(tmp_path)
    write("a/pt-BR.txt", b"x\n")
    write("a/pt-PT.txt", b"y\n")
    with refused(CorpusError, expected="one of the languages ['pt-BR', 'pt-PT']"):
        ParallelCorpus(tmp_path / "a").lines("pt")
    assert ParallelCorpus(tmp_path / "a").lines("pt-BR") == ("x",)
    write("b/fr.txt", b"x\n")
    writer(tmp_path, "gz")("b/fr.txt", b"x\n")
    with refused(CorpusError, got=["fr.txt", "fr.txt.gz"]):
        ParallelCorpus(tmp_path / "b").lines("fr")


def test_moses_corpora_of_one_folder_are_chosen_by_split_or_by_the_start_of_their_names(tmp_path: Path) -> None:
    write = writer(tmp_path)
    for stem in ("Tatoeba.en-fr", "Europarl.en-fr", "dev"):
        for language in ("en", "fr"):
            write(f"{stem}.{language}", f"{stem} {language}\n".encode())
    assert ParallelCorpus(tmp_path).lines("fr") == ("dev fr",)
    assert ParallelCorpus(tmp_path, "Tatoeba.en-fr").lines("fr") == ("Tatoeba.en-fr fr",)
    assert ParallelCorpus(tmp_path / "Europarl.en-fr").lines("en") == ("Europarl.en-fr en",)
    with refused(CorpusError, expected=["Europarl.en-fr", "Tatoeba.en-fr", "dev"]):
        ParallelCorpus(tmp_path, "test").lines("en")


def test_moses_languages_without_a_name_in_cldr_are_read(tmp_path: Path) -> None:
    write = writer(tmp_path)
    for code in ("es", "quy", "nah", "oto", "tar", "bzd"):
        write(f"test.{code}", f"{code}\n".encode())
    for other in ("test.txt", "test.log", "test.json", "README.md", "notes.quy"):
        write(other, b"no sentences\nof a language\n")
    text = recognise(tmp_path)
    assert text is not None
    assert [source.code for source in text.sources] == ["bzd", "es", "nah", "oto", "quy", "tar"]
    assert ParallelCorpus(tmp_path).lines("quy") == ("quy",)


def test_a_pair_with_a_language_without_a_name_is_found_before_the_folders_below(tmp_path: Path) -> None:
    write = writer(tmp_path)
    for split in ("dev", "train"):
        for code in ("es", "quy"):
            write(f"{split}.{code}", f"{split} {code}\n".encode())
    write("parallel_data/es-quy/other.es", b"x\n")
    write("parallel_data/es-quy/other.quy", b"y\n")
    assert ParallelCorpus(tmp_path).lines("quy") == ("dev quy",)


@pytest.mark.parametrize("asked", ["yo", "yor", "yor_Latn"])
def test_two_files_of_one_language_are_refused_with_both_names(tmp_path: Path, asked: str) -> None:
    write = writer(tmp_path)
    for name in ("yo", "yor_Latn", "en"):
        write(f"{name}.txt", b"a\n")
    corpus = ParallelCorpus(tmp_path)
    assert corpus.lines("en") == ("a",)
    with refused(CorpusError, got=["yo.txt", "yor_Latn.txt"]):
        corpus.lines(asked)


def test_languages_that_cldr_treats_as_one_are_told_apart_by_their_own_codes(tmp_path: Path) -> None:
    write = writer(tmp_path)
    names = ("aka_Latn", "twi_Latn", "pt", "pt-BR")
    for name in names:
        write(f"{name}.txt", f"{name}\n".encode())
    corpus = ParallelCorpus(tmp_path)
    assert [corpus.lines(name) for name in names] == [(name,) for name in names]


def test_sentences_without_a_counterpart_are_skipped_in_all_languages_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write = writer(tmp_path)
    write("a.en", b"one\n\nthree\nfour\n")
    write("a.fr", b"un\ndeux\n \nquatre\n")
    with caplog.at_level(logging.WARNING):
        corpus = ParallelCorpus(tmp_path)
        assert (corpus.lines("en"), corpus.lines("fr")) == (("one", "four"), ("un", "quatre"))
    assert "2 sentences" in caplog.text
    write("a.fr", b"un\ndeux\n")
    with refused(CorpusError, got={"en": 4, "fr": 2}):
        ParallelCorpus(tmp_path).lines("en")


def test_an_archive_is_refused_with_the_command_that_unpacks_it(tmp_path: Path) -> None:
    writer(tmp_path)("flores200_dataset.tar.gz", b"")
    with refused(
        CorpusError, expected="the folder that `tar xzf flores200_dataset.tar.gz` makes", got="flores200_dataset.tar.gz"
    ) as caught:
        recognise(tmp_path / "flores200_dataset.tar.gz")
    assert "tar xzf flores200_dataset.tar.gz" in str(caught.value)


def test_folders_of_other_files_are_not_parallel_text(tmp_path: Path) -> None:
    write = writer(tmp_path)
    for name in ("notes.txt", "README.md", "train.tsv", "fr.test.jsonl", "deep/er/still/fr.txt", ".git/fr.txt"):
        write(name, b"label\ttext\n1\tx\n")
    assert recognise(tmp_path) is None
    assert recognise(tmp_path / "none") is None


def test_a_split_is_chosen_by_its_other_names_and_a_single_text_is_every_split(tmp_path: Path) -> None:
    TEXT_WRITERS["table with a header"](writer(tmp_path))
    text = recognise(tmp_path)
    assert text is not None
    assert [choose_split(text, split) for split in (None, "dev", "test")] == ["xnli.15way.orig"] * 3
    writer(tmp_path)("validation.tsv", b"en\tfr\na\tb\n")
    text = recognise(tmp_path)
    assert text is not None
    assert [choose_split(text, split) for split in (None, "dev", "xnli.15way.orig")] == [
        "validation",
        "validation",
        "xnli.15way.orig",
    ]


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


UNITS = """<tu><tuv lang="EN-US"><seg>Press <bpt i="1">&lt;b&gt;</bpt>Start<ept i="1">&lt;/b&gt;</ept>
now &amp; <hi>wait</hi>.</seg></tuv><tuv lang="FR-FR"><seg>Appuyez.</seg></tuv></tu>
<tu><tuv lang="EN-US"><seg>No counterpart</seg></tuv></tu>
<tu><tuv lang="EN-US"><seg>Two</seg></tuv><tuv lang="FR-FR"><seg>Deux</seg></tuv>
<tuv lang="FR-FR"><seg>Autre</seg></tuv></tu>"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_segments_are_read_without_markup_of_other_formats(tmp_path: Path, encoding: str) -> None:
    document = f'<?xml version="1.0" encoding="{encoding}"?><tmx><body>{UNITS}</body></tmx>'
    (tmp_path / "a.tmx").write_bytes(document.encode(encoding))
    corpus = ParallelCorpus(tmp_path / "a.tmx")
    assert corpus.lines("en") == ("Press Start now & wait.", "Two")
    assert corpus.lines("fr") == ("Appuyez.", "Deux")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ('<!DOCTYPE tmx [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>', "declares an entity"),
        ('<!DOCTYPE tmx [<!ENTITY a SYSTEM "file:///etc/hostname">]>', "declares an entity"),
        ("<tmx><body><tu>", "cannot be read"),
        ('<?xml version="1.0" encoding="no-such-code"?>', "cannot be read"),
        ('<?xml version="1.0" encoding="shift_jis"?>', "cannot be read"),
    ],
)
def test_entities_and_broken_xml_are_refused(tmp_path: Path, head: str, message: str) -> None:
    (tmp_path / "a.tmx").write_text(f"{head}<tmx><body>{UNITS}</body></tmx>")
    with pytest.raises(CorpusError, match=message) as caught:
        ParallelCorpus(tmp_path).lines("en")
    assert caught.value.context["file"] == str(tmp_path / "a.tmx")


NUSAX_COLUMNS = (("ace", "acehnese"), ("bbc", "toba_batak"))


def nusax(folder: Path) -> None:
    """NusaX: columns with English names, one of them without a name."""
    for split in ("train", "valid"):
        rows = [f'{n},selamat {n},"a, {split} {n}",{"" if n == 1 else f"b {n}"}' for n in range(3)]
        (folder / f"{split}.csv").write_text("\n".join([",indonesian,acehnese,toba_batak", *rows, ""]))
    (folder / "lexicon.csv").write_text("indonesian,acehnese\na,b\n")


def test_columns_with_other_names_are_the_languages_that_the_recipe_states(tmp_path: Path) -> None:
    nusax(tmp_path)
    corpus = ParallelCorpus(tmp_path, "dev", columns=NUSAX_COLUMNS)
    assert (corpus.split, corpus.recognised.splits) == ("valid", ("train", "valid"))
    assert corpus.lines("ace") == ("a, valid 0", "a, valid 2"), "a sentence that a stated language lacks is skipped"
    assert corpus.lines("bbc") == ("b 0", "b 2")
    assert ParallelCorpus(tmp_path, "dev", columns=NUSAX_COLUMNS[:1]).lines("ace")[1] == "a, valid 1"
    with refused(CorpusError, language="id", expected=["ace", "bbc"]):
        corpus.lines("id")


def test_columns_that_no_table_has_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("en,fr\na,b\n")
    with refused(CorpusError, key="columns", expected=["acehnese", "toba_batak"], got={"a.csv": ["en", "fr"]}):
        ParallelCorpus(tmp_path, columns=NUSAX_COLUMNS).lines("ace")
    with refused(CorpusError, key="columns", got="an empty folder"):
        (tmp_path / "b").mkdir()
        ParallelCorpus(tmp_path / "b", columns=NUSAX_COLUMNS).lines("ace")
