"""Corpora: aligned sentences in several languages, from files or from CLDR, read and checked in one place."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlprune.corpus import cldr, cldr_sentences
from mlprune.errors import CorpusError
from mlprune.hashing import digest
from mlprune.languages import language_file_stems


class ParallelCorpus:
    """Aligned lines: line i says the same thing in every language.

    Raises (from all methods):
        CorpusError: a language is missing, files are of different length, or a line is empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: dict[str, tuple[str, ...]] = {}

    def lines(self, language: str) -> tuple[str, ...]:
        """The sentences of one language, as long as those of every language read before."""
        if language not in self._lines:
            path = self._file(language)
            read = _sentences(path)
            for other, others in self._lines.items():
                if len(others) != len(read):
                    raise CorpusError(
                        "corpus files are not aligned",
                        path=str(path),
                        expected=f"{len(others)} lines as in {other}",
                        got=f"{len(read)} lines",
                    )
            self._lines[language] = read
        return self._lines[language]

    def content(self, language: str) -> str:
        """SHA-256 of what was read for a language."""
        return digest(list(self.lines(language)))

    def _file(self, language: str) -> Path:
        looked_up = [self._folder / f"{stem}.txt" for stem in language_file_stems(language)]
        found = next((path for path in looked_up if path.is_file()), None)
        if found is None:
            raise CorpusError(
                "the corpus has no such language",
                folder=str(self._folder),
                language=language,
                expected=[path.name for path in looked_up],
                got=sorted(path.name for path in self._folder.glob("*.txt")) or "no .txt files",
            )
        return found


class CldrCorpus(ParallelCorpus):
    """The built-in corpus, made of CLDR's names and formats."""

    def __init__(self, *, n_lines: int, seed: int) -> None:
        super().__init__(Path())
        self._corpus: Mapping[str, tuple[str, ...]] = cldr_sentences.corpus(n_lines, seed)

    def lines(self, language: str) -> tuple[str, ...]:
        """The sentences of one of `cldr.LANGUAGES`."""
        if language not in self._corpus:
            raise CorpusError("the built-in corpus has no such language", language=language, expected=cldr.LANGUAGES)
        return self._corpus[language]


def _sentences(path: Path) -> tuple[str, ...]:
    """The lines of a text file; an empty one is an error that names its number (from 1)."""
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
    """Relative path -> text of the Python files below a folder that are not empty.

    Raises:
        CorpusError: there are none, or one is not UTF-8.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as err:
            raise CorpusError("a code file cannot be read", path=str(path), reason=str(err)) from err
        if text.strip():
            found[path.relative_to(folder).as_posix()] = text
    if not found:
        raise CorpusError("no code", folder=str(folder), expected="**/*.py files", got="none")
    return found


def code_digest(files: Mapping[str, str], names: Sequence[str]) -> str:
    """SHA-256 over the chosen files' names and texts."""
    hashes = {name: hashlib.sha256(files[name].encode()).hexdigest() for name in names}
    return digest(hashes)
