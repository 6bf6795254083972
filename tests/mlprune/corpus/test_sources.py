"""Sources of texts and reports on them."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from mlprune.capabilities.inspection.data_report import DataReport, text_report
from mlprune.corpus.sources import CldrCorpus, ParallelCorpus, code_digest, code_files
from mlprune.errors import CorpusError
from tests.published_text import TEXT_WRITERS, writer
from tests.refusals import refused


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], None]:
    return lambda name, text: (tmp_path / name).write_bytes(text.encode()) and None


def test_lines_are_read_unchanged(tmp_path: Path, write: Callable[[str, str], None]) -> None:
    write("fr.txt", "  un deux \ntrois\u2028quatre\nça va")
    write("en.txt", "a\r\nb\r\nc\r\n")
    corpus = ParallelCorpus(tmp_path)
    assert corpus.lines("fr") == ("  un deux ", "trois\u2028quatre", "ça va")
    assert corpus.lines("en") == ("a", "b", "c")


def test_a_file_may_have_the_long_name(tmp_path: Path, write: Callable[[str, str], None]) -> None:
    write("swh_Latn.txt", "moja\n")
    write("zho_Hans.txt", "一\n")
    write("zho_Hant.txt", "壹\n")
    write("fr.txt", "un\n")
    corpus = ParallelCorpus(tmp_path)
    found = [corpus.lines(tag)[0] for tag in ("sw", "zh", "zh-Hant", "fr")]
    assert found == ["moja", "一", "壹", "un"]


def test_a_missing_language_is_named_with_what_was_looked_for(
    tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    write("fr.txt", "un\n")
    with refused(CorpusError, expected=["es.txt", "spa_Latn.txt"], got=["fr.txt"]):
        ParallelCorpus(tmp_path).lines("es")


def test_files_of_different_length_are_an_error_in_either_order(
    tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    write("fr.txt", "un\ndeux\n")
    write("en.txt", "one\n")
    for first, second, n_lines in (("fr", "en", 2), ("en", "fr", 1)):
        corpus = ParallelCorpus(tmp_path)
        corpus.lines(first)
        with refused(CorpusError, expected=f"{n_lines} lines as in {first}"):
            corpus.lines(second)


@pytest.mark.parametrize(
    ("text", "line"), [("a\n\nc\n", 2), ("a\nb\n \t\n", 3), ("", 1), ("\n", 1), ("a\n\n", 2), ("a\r\n\r\n", 2)]
)
def test_an_empty_sentence_is_named_by_its_line(
    tmp_path: Path, write: Callable[[str, str], None], text: str, line: int
) -> None:
    write("fr.txt", text)
    with refused(CorpusError, line=line, path=str(tmp_path / "fr.txt")):
        ParallelCorpus(tmp_path).lines("fr")


def test_a_file_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "fr.txt").write_bytes(b"caf\xe9\n")
    with refused(CorpusError, expected="UTF-8"):
        ParallelCorpus(tmp_path).lines("fr")


def test_the_content_hash_of_a_language_depends_only_on_its_sentences(
    tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    write("fr.txt", "un\ndeux\n")
    first = ParallelCorpus(tmp_path).content("fr")
    (tmp_path / "fr.txt").rename(tmp_path / "fra_Latn.txt")
    assert ParallelCorpus(tmp_path).content("fr") == first
    write("fra_Latn.txt", "un\ndeux!\n")
    assert ParallelCorpus(tmp_path).content("fr") != first


def test_the_built_in_corpus_is_a_corpus_like_any_other() -> None:
    corpus = CldrCorpus(n_lines=16, seed=0)
    assert len(corpus.lines("fr")) == len(corpus.lines("ar")) == 16
    assert corpus.content("fr") != corpus.content("en")
    assert CldrCorpus(n_lines=16, seed=1).content("fr") != corpus.content("fr")
    with refused(CorpusError, language="de", expected=("en", "fr", "es", "zh", "hi", "sw", "ru", "ar")):
        corpus.lines("de")


def test_code_is_every_python_file_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "deep.py").write_text("x = 1\n")
    (tmp_path / "top.py").write_text("é = 2\n", encoding="utf-8")
    (tmp_path / "__init__.py").write_text("\n  \n")
    (tmp_path / "notes.txt").write_text("no code")
    assert code_files(tmp_path) == {"a/b/deep.py": "x = 1\n", "top.py": "é = 2\n"}


def test_no_code_or_unreadable_code_is_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with refused(CorpusError, expected="**/*.py files"):
            code_files(folder)
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9\n")
    with refused(CorpusError, path=str(tmp_path / "latin.py")):
        code_files(tmp_path)


def test_the_content_of_code_is_that_of_the_chosen_files() -> None:
    files = {"a.py": "1", "b.py": "2", "c.py": "3"}
    chosen = code_digest(files, ["a.py", "b.py"])
    assert code_digest({**files, "c.py": "other"}, ["a.py", "b.py"]) == chosen
    assert code_digest({**files, "b.py": "other"}, ["a.py", "b.py"]) != chosen
    assert code_digest(files, ["a.py", "c.py"]) != chosen


def test_a_sentence_with_a_nul_is_named_by_its_line(tmp_path: Path, write: Callable[[str, str], None]) -> None:
    write("en.txt", "one\ntw\0o\n")
    with refused(CorpusError, line=2):
        ParallelCorpus(tmp_path).lines("en")


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
