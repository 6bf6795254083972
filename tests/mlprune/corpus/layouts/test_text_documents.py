"""Documents of published parallel text."""

import logging
from pathlib import Path

import pytest

from mlprune.corpus.layouts.text_documents import TextDocument
from mlprune.corpus.sources import CldrCorpus, ParallelCorpus
from tests.published_text import TEXT_WRITERS, VARIANTS, flores_parquet, writer

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
