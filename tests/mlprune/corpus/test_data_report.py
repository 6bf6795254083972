"""Reports on parallel text: counts, problems and notes."""

import gzip
from pathlib import Path

import pytest

from mlprune.corpus.data_report import DataReport, text_report
from mlprune.corpus.sources import ParallelCorpus
from mlprune.errors import CorpusError
from tests.published_text import TEXT_WRITERS, writer
from tests.refusals import refused


def report_on(path: Path, split: str | None = None) -> DataReport:
    report = text_report(path, split=split)
    assert report is not None
    return report


def test_every_language_and_split_is_counted_with_its_first_sentence(tmp_path: Path) -> None:
    TEXT_WRITERS["FLORES"](writer(tmp_path))
    report = report_on(tmp_path)
    rows = [(row.language, row.code, row.split, row.n, row.first) for row in report.rows]
    assert rows[:2] == [("en", "eng_Latn", "dev", 3, "One."), ("fr", "fra_Latn", "dev", 3, "Un.")]
    assert rows[-1] == ("zh", "zho_Hans", "devtest", 2, "一。")
    assert (report.layout, report.problems) == ("FLORES", ())
    assert report.recipe == f"corpus: {{kind: parallel_text, path: {tmp_path}}}"
    assert report.notes == ("a corpus without the key split reads dev",)
    only = report_on(tmp_path, "test")
    assert {row.split for row in only.rows} == {"devtest"}
    assert "split: test" in only.recipe


def test_empty_misaligned_unreadable_and_repeated_sentences_are_reported(tmp_path: Path) -> None:
    write = writer(tmp_path)
    for name, data in (("en", b"a\nb\nb\n"), ("fr", b"a\n\nc\n"), ("es", b"a\nb\n"), ("hi", b"caf\xe9\n")):
        write(f"{name}.txt", data)
    report = report_on(tmp_path)
    assert len(report.problems) == 3
    assert "cannot be read" in report.problems[1]
    assert report.problems[0] == "fr.txt: 1 of 3 sentences are empty, the first in line 2"
    assert report.problems[2] == "not aligned: 3 sentences, but es 2"
    assert report.notes == ("repeated sentences: en 1",)


def test_a_wrong_language_among_others_is_a_note_and_the_recipe_of_the_others_can_be_used(tmp_path: Path) -> None:
    TEXT_WRITERS["FLORES"](writer(tmp_path))
    writer(tmp_path)("flores200_dataset/dev/msa_Latn.dev", b"Satu.\n")
    report = report_on(tmp_path)
    assert report.problems == ()
    assert any("msa_Latn 1" in note and "would be refused" in note for note in report.notes)
    assert report.recipe == f"corpus: {{kind: parallel_text, path: {tmp_path}}}"
    corpus = ParallelCorpus(tmp_path)
    assert len(corpus.lines("fr")) == len(corpus.lines("en")) == 3
    with pytest.raises(CorpusError):
        corpus.lines("msa")


@pytest.mark.parametrize("is_skipping", [True, False])
def test_there_is_no_recipe_if_every_recipe_would_be_refused(tmp_path: Path, *, is_skipping: bool) -> None:
    write = writer(tmp_path)
    write("x.en" if is_skipping else "en.txt", b"one\ntwo\n")
    write("x.fr" if is_skipping else "fr.txt", b"un\n")
    report = report_on(tmp_path)
    assert len(report.problems) == 1
    assert report.recipe == ""


def test_two_files_of_one_language_are_a_problem_with_both_names(tmp_path: Path) -> None:
    write = writer(tmp_path)
    for name in ("yo", "yor_Latn", "en"):
        write(f"{name}.txt", b"a\n")
    (problem,) = report_on(tmp_path).problems
    assert "yo.txt, yor_Latn.txt" in problem


def test_skipped_sentences_are_a_note_and_texts_without_a_default_need_a_split(tmp_path: Path) -> None:
    write = writer(tmp_path)
    for stem in ("a.en-fr", "b.en-fr"):
        write(f"{stem}.en", b"one\ntwo\n")
        write(f"{stem}.fr", b"\ndeux\n")
    report = report_on(tmp_path)
    assert report.problems == ()
    assert report.notes[0] == "a corpus needs the key split"
    assert report.notes[1] == "a.en-fr: skipped because empty in a language: 1"
    assert report.recipe.endswith("split: a.en-fr}")


def test_other_data_is_not_parallel_text_and_an_unknown_split_an_error(tmp_path: Path) -> None:
    assert text_report(tmp_path) is None
    TEXT_WRITERS["FLORES"](writer(tmp_path))
    with refused(CorpusError, key="split", got="train"):
        text_report(tmp_path, split="train")


def test_texts_of_one_language_and_sentences_with_a_nul_are_reported(tmp_path: Path) -> None:
    write = writer(tmp_path)
    write("en.txt", b"one\n")
    write("en.txt.gz", gzip.compress(b"one\n"))
    write("fr.txt", b"u\0n\n")
    assert sorted(report_on(tmp_path).problems) == [
        "fr.txt: sentences with a NUL: 1, the first in line 1",
        "several texts of one language, remove all but one: en.txt, en.txt.gz",
    ]
