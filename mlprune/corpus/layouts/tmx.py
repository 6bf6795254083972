"""TMX, the exchange format of translation memories: units with one segment per language.

Files are parsed as a stream. Entities that a file declares are refused, and a document type is never fetched.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from xml.parsers import expat

from mlprune.corpus.layouts.text_layout import TextSource, files_in
from mlprune.corpus.text_files import READ_ERRORS, open_binary, uncompressed_name
from mlprune.errors import CorpusError

N_SAMPLED_UNITS = 1000
"""Units that are read to find the languages of a file."""
_CHUNK_BYTES = 1 << 16
_MARKUP = frozenset({"bpt", "ept", "it", "ph", "ut"})
"""Elements of a segment whose text is code of another format."""


class _UnitHandler:
    """Handler of the parser's events: collects finished units, language -> segment."""

    def __init__(self, parser: expat.XMLParserType) -> None:
        self.units: list[dict[str, str]] = []
        self._language = ""
        self._unit: dict[str, str] = {}
        self._pieces: list[str] | None = None
        self._markup_depth = 0
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._refuse_entity

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "tu":
            self._unit = {}
        elif name == "tuv":
            self._language = attributes.get("xml:lang") or attributes.get("lang") or ""
        elif name == "seg":
            self._pieces = []
        elif name in _MARKUP:
            self._markup_depth += 1

    def _end(self, name: str) -> None:
        if name == "tu":
            self.units.append(self._unit)
        elif name == "seg" and self._pieces is not None:
            self._unit.setdefault(self._language, " ".join("".join(self._pieces).split("\n")).strip())
            self._pieces = None
        elif name in _MARKUP:
            self._markup_depth -= 1

    def _text(self, text: str) -> None:
        if self._pieces is not None and not self._markup_depth:
            self._pieces.append(text)

    def _refuse_entity(self, name: str, *_: object) -> None:
        raise CorpusError("a TMX file declares an entity", expected="a file without <!ENTITY", got=name)


def _units(path: Path) -> Iterator[dict[str, str]]:
    """The units of a file: language as the file writes it -> segment, the first one if it has several.

    Raises:
        CorpusError: the file cannot be read, is not XML or in an encoding that the parser lacks, or declares an entity.
    """
    parser = expat.ParserCreate()
    handler = _UnitHandler(parser)
    try:
        with open_binary(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                parser.Parse(chunk, False)
                yield from handler.units
                handler.units.clear()
            parser.Parse(b"", True)
            yield from handler.units
    except CorpusError as err:
        raise CorpusError(err.message, {"file": str(path), **err.context}) from err
    except (*READ_ERRORS, expat.ExpatError, LookupError, ValueError) as err:  # also encodings that expat lacks
        raise CorpusError("a file cannot be read", file=str(path), reason=str(err)) from err


def tmx_sources(path: Path) -> list[TextSource]:
    """The languages of the first units of each `.tmx` file."""
    files = [(file, uncompressed_name(file)) for file in files_in(path)]
    return [
        TextSource(file, language, name.removesuffix(".tmx"))
        for file, name in files
        if name.endswith(".tmx")
        for language in dict.fromkeys(code for unit in islice(_units(file), N_SAMPLED_UNITS) for code in unit)
    ]


def read(sources: Sequence[TextSource]) -> list[list[str]]:
    """The segments of each source, empty ones for units without its language."""
    sentences: list[list[str]] = [[] for _ in sources]
    for unit in _units(sources[0].path):
        for source, of_language in zip(sources, sentences, strict=True):
            of_language.append(unit.get(source.code, ""))
    return sentences
