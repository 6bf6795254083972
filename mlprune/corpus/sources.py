"""Corpora: aligned sentences in several languages from files or from CLDR, and files of code."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlprune.corpus import cldr, cldr_sentences
from mlprune.errors import CorpusError
from mlprune.hashing import digest
from mlprune.languages import language_file_stems


class ParallelCorpus:
    """Aligned lines: line i has the same meaning in every language.

    All methods raise CorpusError if a language is missing, files differ in length, or a line is empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: dict[str, tuple[str, ...]] = {}

    def lines(self, language: str) -> tuple[str, ...]:
        """The sentences of one language, as many as in every language that was read before."""
        if language not in self._lines:
            path = self._file(language)
            lines = _sentences(path)
            for other_language, other_lines in self._lines.items():
                if len(other_lines) != len(lines):
                    raise CorpusError(
                        "corpus files are not aligned",
                        path=str(path),
                        expected=f"{len(other_lines)} lines as in {other_language}",
                        got=f"{len(lines)} lines",
                    )
            self._lines[language] = lines
        return self._lines[language]

    def content(self, language: str) -> str:
        """SHA-256 of the sentences of a language."""
        return digest(list(self.lines(language)))

    def _file(self, language: str) -> Path:
        candidates = [self._folder / f"{stem}.txt" for stem in language_file_stems(language)]
        existing = next((path for path in candidates if path.is_file()), None)
        if existing is None:
            raise CorpusError(
                "the corpus has no such language",
                folder=str(self._folder),
                language=language,
                expected=[path.name for path in candidates],
                got=sorted(path.name for path in self._folder.glob("*.txt")) or "no .txt files",
            )
        return existing


class CldrCorpus(ParallelCorpus):
    """The built-in corpus, made from the names and formats of CLDR."""

    def __init__(self, *, n_lines: int, seed: int) -> None:
        super().__init__(Path())
        self._corpus: Mapping[str, tuple[str, ...]] = cldr_sentences.corpus(n_lines, seed)

    def lines(self, language: str) -> tuple[str, ...]:
        """The sentences of one of `cldr.LANGUAGES`."""
        if language not in self._corpus:
            raise CorpusError("the built-in corpus has no such language", language=language, expected=cldr.LANGUAGES)
        return self._corpus[language]


def _sentences(path: Path) -> tuple[str, ...]:
    """The lines of a text file. An empty line is an error with its number, from 1."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise CorpusError("a corpus file cannot be read", path=str(path), reason=str(err)) from err
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise CorpusError("empty sentence", path=str(path), line=number, expected="a sentence", got=line)
    return tuple(lines)


def code_files(folder: Path) -> Mapping[str, str]:
    """Relative path -> text of the non-empty Python files below a folder.

    Raises:
        CorpusError: there is no such file, or one is not UTF-8.
    """
    texts: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as err:
            raise CorpusError("a code file cannot be read", path=str(path), reason=str(err)) from err
        if text.strip():
            texts[path.relative_to(folder).as_posix()] = text
    if not texts:
        raise CorpusError("no code", folder=str(folder), expected="**/*.py files", got="none")
    return texts


def code_digest(files: Mapping[str, str], names: Sequence[str]) -> str:
    """SHA-256 of the names and texts of some files."""
    hashes = {name: hashlib.sha256(files[name].encode()).hexdigest() for name in names}
    return digest(hashes)
