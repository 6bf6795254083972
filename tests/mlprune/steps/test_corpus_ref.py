"""Corpora as plain values: opened once, and whether two of them are the same text."""

import shutil
from dataclasses import replace
from pathlib import Path

from mlprune.steps.corpus_ref import CorpusRef, is_same_text, open_corpus


def corpus_of(folder: Path) -> CorpusRef:
    return CorpusRef("parallel_text", path=str(folder / "corpus"))


def test_a_corpus_is_opened_once(tiny_inputs: Path) -> None:
    assert open_corpus(corpus_of(tiny_inputs)) is open_corpus(corpus_of(tiny_inputs))
    assert len(open_corpus(CorpusRef("cldr", lines=16)).lines("fr")) == 16


def test_two_paths_are_the_same_text_if_they_lead_to_the_same_file(tiny_inputs: Path, tmp_path: Path) -> None:
    corpus, built_in = corpus_of(tiny_inputs), CorpusRef("cldr", lines=16)
    link, copy = tmp_path / "link", tmp_path / "copy"
    link.symlink_to(tiny_inputs / "corpus")
    shutil.copytree(tiny_inputs / "corpus", copy)
    assert is_same_text(corpus, replace(corpus, path=str(link)), "fr")
    assert not is_same_text(corpus, replace(corpus, path=str(copy)), "fr")
    assert not is_same_text(corpus, replace(corpus, path=str(link)), "xx")
    assert not is_same_text(corpus, built_in, "fr")
    assert is_same_text(built_in, CorpusRef("cldr", lines=16), "fr")
