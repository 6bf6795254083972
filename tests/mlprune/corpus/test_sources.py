"""Parallel text and code from files: found, aligned and complete."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mlprune.corpus.sources import CldrCorpus, ParallelCorpus, code_digest, code_files
from mlprune.errors import CorpusError
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
    with pytest.raises(CorpusError) as caught:
        ParallelCorpus(tmp_path).lines("es")
    assert caught.value.context["expected"] == ["es.txt", "spa_Latn.txt"]
    assert caught.value.context["got"] == ["fr.txt"]


def test_files_of_different_length_are_an_error_in_either_order(
    tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    write("fr.txt", "un\ndeux\n")
    write("en.txt", "one\n")
    for first, second, n_lines in (("fr", "en", 2), ("en", "fr", 1)):
        corpus = ParallelCorpus(tmp_path)
        corpus.lines(first)
        with pytest.raises(CorpusError) as caught:
            corpus.lines(second)
        assert caught.value.context["expected"] == f"{n_lines} lines as in {first}"


@pytest.mark.parametrize(
    ("text", "line"), [("a\n\nc\n", 2), ("a\nb\n \t\n", 3), ("", 1), ("\n", 1), ("a\n\n", 2), ("a\r\n\r\n", 2)]
)
def test_an_empty_sentence_is_named_by_its_line(
    tmp_path: Path, write: Callable[[str, str], None], text: str, line: int
) -> None:
    write("fr.txt", text)
    with pytest.raises(CorpusError) as caught:
        ParallelCorpus(tmp_path).lines("fr")
    assert (caught.value.context["line"], caught.value.context["path"]) == (line, str(tmp_path / "fr.txt"))


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
    with pytest.raises(CorpusError) as caught:
        code_files(tmp_path)
    assert caught.value.context["path"] == str(tmp_path / "latin.py")


def test_the_content_of_code_is_that_of_the_chosen_files() -> None:
    files = {"a.py": "1", "b.py": "2", "c.py": "3"}
    chosen = code_digest(files, ["a.py", "b.py"])
    assert code_digest({**files, "c.py": "other"}, ["a.py", "b.py"]) == chosen
    assert code_digest({**files, "b.py": "other"}, ["a.py", "b.py"]) != chosen
    assert code_digest(files, ["a.py", "c.py"]) != chosen


def test_a_sentence_with_a_nul_is_named_by_its_line(tmp_path: Path, write: Callable[[str, str], None]) -> None:
    write("en.txt", "one\ntw\0o\n")
    with pytest.raises(CorpusError) as caught:
        ParallelCorpus(tmp_path).lines("en")
    assert caught.value.context["line"] == 2
