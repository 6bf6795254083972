"""Corpora: aligned sentences in several languages from files or from CLDR, and files of code."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from mlprune.corpus import cldr_facts, cldr_sentences
from mlprune.corpus.layouts import parallel_text
from mlprune.corpus.layouts.line_files import every_text_file
from mlprune.corpus.layouts.text_documents import aligned_documents
from mlprune.corpus.layouts.text_layout import TextDocument, TextSource
from mlprune.corpus.layouts.text_tables import named_columns
from mlprune.corpus.text_files import listed_names
from mlprune.errors import CorpusError
from mlprune.given_files import read_given_text
from mlprune.hashing import digest
from mlprune.languages import language_file_stems


class ParallelCorpus:
    """Aligned sentences: sentence i has the same meaning in every language.

    All methods raise CorpusError if the path is not parallel text, a language is missing or ambiguous, languages differ
    in length, or a sentence is empty.

    Args:
        path: a file or folder in one of `TEXT_LAYOUTS`.
        split: as in `choose_split`.
        columns: (language, column) of tables whose header has other names for the languages.
    """

    def __init__(self, path: Path, split: str | None = None, *, columns: Sequence[tuple[str, str]] = ()) -> None:
        self._path = path
        self._split = split
        self._columns = columns
        self._lines: dict[str, tuple[str, ...]] = {}

    @cached_property
    def recognised(self) -> parallel_text.RecognisedText:
        """The path's layout and sources; a folder without known names has its text files as languages."""
        if self._columns:
            sources = named_columns(self._path, self._columns)
            return parallel_text.RecognisedText(self._path, parallel_text.TABLE, tuple(sources))
        recognised = parallel_text.recognise(self._path)
        return recognised or parallel_text.RecognisedText(
            self._path, parallel_text.PLAIN, tuple(every_text_file(self._path))
        )

    @cached_property
    def split(self) -> str:
        """The split in the words of the text; empty if it has none."""
        return parallel_text.choose_split(self.recognised, self._split) if self.recognised.sources else ""

    @cached_property
    def _text(self) -> parallel_text.ParallelText:
        return parallel_text.ParallelText(self.recognised, self.split)

    def lines(self, language: str) -> tuple[str, ...]:
        """The sentences of one language, as many as in every language that was read before."""
        if language not in self._lines:
            source = self.source(language)
            lines = self._text.sentences(source)
            _check_filled(lines, source.path)
            for other_language, other_lines in self._lines.items():
                if len(other_lines) != len(lines):
                    raise CorpusError(
                        "corpus files are not aligned",
                        path=str(source.path),
                        expected=f"{len(other_lines)} lines as in {other_language}",
                        got=f"{len(lines)} lines",
                    )
            self._lines[language] = lines
        return self._lines[language]

    def documents(self, language: str) -> tuple[TextDocument, ...]:
        """The document of each sentence of a language; empty if the text does not state it."""
        source = self.source(language)
        documents = self.recognised.layout.documents(source)
        return aligned_documents(source, documents, n_lines=len(self.lines(language)))

    def content(self, language: str) -> str:
        """SHA-256 of the sentences of a language."""
        return digest(list(self.lines(language)))

    def source(self, language: str) -> TextSource:
        """The file of a language, and its name for the language."""
        source = self._text.source(language)
        if source is None:
            raise CorpusError("the corpus has no such language", self._expected_languages(language))
        return source

    def _expected_languages(self, language: str) -> dict[str, object]:
        """The context of an error: names of files for a plain folder, else the languages of the text."""
        where: dict[str, object] = {"folder": str(self._path), "language": language}
        if self.recognised.layout is not parallel_text.PLAIN:
            return {**where, "expected": sorted(self._text.languages), "page": parallel_text.PAGE}
        names = sorted(source.path.name for source in self.recognised.sources)
        expected = [f"{stem}.txt" for stem in language_file_stems(language)]
        got = names or f"no .txt files: {listed_names(self._path)}"
        return {**where, "expected": expected, "got": got, "page": parallel_text.PAGE}


class CldrCorpus(ParallelCorpus):
    """The built-in corpus, made from the names and formats of CLDR."""

    def __init__(self, *, n_lines: int, seed: int) -> None:
        super().__init__(Path())
        self._corpus: Mapping[str, tuple[str, ...]] = cldr_sentences.corpus(n_lines, seed)

    def lines(self, language: str) -> tuple[str, ...]:
        """The sentences of one of `cldr.LANGUAGES`."""
        if language not in self._corpus:
            raise CorpusError(
                "the built-in corpus has no such language", language=language, expected=cldr_facts.LANGUAGES
            )
        return self._corpus[language]

    def documents(self, language: str) -> tuple[TextDocument, ...]:
        """None: the sentences are not from documents."""
        return ()


def _check_filled(lines: Sequence[str], path: Path) -> None:
    """Refuse a sentence that is empty or has a NUL, with its number, from 1.

    A file without lines has one empty sentence. A NUL means that the file is damaged or not UTF-8.
    """
    for number, line in enumerate(lines or ("",), start=1):
        if "\0" in line:
            expected = "text in UTF-8"
            raise CorpusError("a sentence has a NUL", path=str(path), line=number, expected=expected, got=line[:80])
        if not line.strip():
            raise CorpusError("empty sentence", path=str(path), line=number, expected="a sentence", got=line)


def code_files(folder: Path) -> Mapping[str, str]:
    """Relative path -> text of the non-empty Python files below a folder.

    Raises:
        CorpusError: there is no such file, or one is not UTF-8.
    """
    texts: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        try:
            text = read_given_text(path)
        except (OSError, UnicodeDecodeError) as err:
            raise CorpusError("a code file cannot be read", path=str(path), reason=str(err)) from err
        if text.strip():
            texts[path.relative_to(folder).as_posix()] = text
    if not texts:
        raise CorpusError("no code", folder=str(folder), expected="**/*.py files", got=listed_names(folder))
    return texts


def code_digest(files: Mapping[str, str], names: Sequence[str]) -> str:
    """SHA-256 of the names and texts of some files."""
    hashes = {name: hashlib.sha256(files[name].encode()).hexdigest() for name in names}
    return digest(hashes)
