"""Parallel text in any layout: recognise a path, choose a split and read sentences."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlprune.corpus.layouts import line_files, text_documents, text_tables, tmx
from mlprune.corpus.layouts.text_layout import (
    TextLayout,
    TextSource,
    is_same_language,
    matching_codes,
    recipe_tags,
    split_name,
)
from mlprune.errors import CorpusError

logger = logging.getLogger(__name__)
PAGE = "docs/data.md"
"""Page that describes the layouts."""
PLAIN = TextLayout("plain folder", "fr.txt or fra_Latn.txt", line_files.plain_sources, line_files.read)
TABLE = TextLayout(
    "table with a header",
    "NAME.tsv or NAME.csv with columns en, fr",
    text_tables.table_sources,
    text_tables.read_tables,
    skips_incomplete=True,
)
TEXT_LAYOUTS: Mapping[str, TextLayout] = {
    layout.name: layout
    for layout in (
        PLAIN,
        TextLayout(
            "FLORES",
            "dev/fra_Latn.dev, devtest/fra_Latn.devtest",
            line_files.flores_sources,
            line_files.read,
            documents=text_documents.flores_documents,
        ),
        TextLayout(
            "NTREX-128",
            "newstest2019-src.eng.txt, newstest2019-ref.fra.txt",
            line_files.ntrex_sources,
            line_files.read,
            documents=text_documents.ntrex_documents,
        ),
        TextLayout(
            "FLORES as Parquet",
            "dev/fra_Latn.parquet or fra_Latn/dev-00000-of-00001.parquet",
            text_tables.parquet_sources,
            text_tables.read_parquet_files,
            documents=text_documents.table_documents,
        ),
        TextLayout(
            "WMT24++",
            "en-de_DE.jsonl, en-fr_CA.jsonl",
            text_tables.wmt_sources,
            text_tables.read_wmt,
            documents=text_documents.wmt_documents,
        ),
        TextLayout(
            "Moses", "NAME.en-fr.en, NAME.en-fr.fr", line_files.moses_sources, line_files.read, skips_incomplete=True
        ),
        TABLE,
        TextLayout("TMX", 'NAME.tmx with <tuv xml:lang="fr">', tmx.tmx_sources, tmx.read, skips_incomplete=True),
    )
}
"""Layouts by name, in the order of trial."""
SPLIT_ALIASES: Mapping[str, tuple[str, ...]] = {
    "test": ("test", "devtest"),
    "dev": ("dev", "validation", "valid"),
    "validation": ("validation", "valid", "dev"),
}
"""Split of a recipe -> its names in a text, in the order of trial."""
ARCHIVES: Mapping[str, str] = {
    ".tar.gz": "tar xzf",
    ".tgz": "tar xzf",
    ".tar.xz": "tar xJf",
    ".tar.bz2": "tar xjf",
    ".tar": "tar xf",
    ".zip": "unzip",
}
"""Ending of an archive -> command that unpacks it."""
_LEVELS_BELOW = 2


@dataclass(frozen=True)
class RecognisedText:
    """A path and the sources of its layout."""

    path: Path
    layout: TextLayout
    sources: tuple[TextSource, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits, or names of texts, in the order of the files; one empty name if there is only one text."""
        return tuple(dict.fromkeys(source.split for source in self.sources))

    def of_split(self, split: str) -> tuple[TextSource, ...]:
        """The sources of one split."""
        return tuple(source for source in self.sources if source.split == split)


def recognise(path: Path) -> RecognisedText | None:
    """Recognise the layout of a path, or of the only folder below it that has one; None without parallel text.

    Folders that are named after splits are the splits of one text.

    Raises:
        CorpusError: several folders below the path are parallel text, or the path is an archive.
    """
    _refuse_archive(path)
    return _recognise(path, levels_below=_LEVELS_BELOW)


def _refuse_archive(path: Path) -> None:
    command = next((command for ending, command in ARCHIVES.items() if path.name.endswith(ending)), None)
    if command is not None and path.is_file():
        expected = f"the folder that `{command} {path.name}` makes"
        raise CorpusError("the path is an archive", path=str(path), expected=expected, got=path.name)


def _recognise(path: Path, *, levels_below: int) -> RecognisedText | None:
    for layout in TEXT_LAYOUTS.values():
        if sources := layout.find(path):
            return RecognisedText(path, layout, tuple(sources))
    if not levels_below or not path.is_dir():
        return None
    folders = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    texts = [text for folder in folders if (text := _recognise(folder, levels_below=levels_below - 1))]
    return _merged(path, texts) if texts else None


def _merged(path: Path, texts: Sequence[RecognisedText]) -> RecognisedText:
    """The only one of the texts below a path, or the text of which they are the splits.

    Raises:
        CorpusError: there are several.
    """
    layouts = {text.layout.name for text in texts}
    if len(layouts) == 1 and all(split_name(text.path.name) for text in texts):
        sources = [
            TextSource(source.path, source.code, source.split or text.path.name)
            for text in texts
            for source in text.sources
        ]
        return RecognisedText(path, texts[0].layout, tuple(sources))
    if len(texts) > 1:
        names = [str(text.path.relative_to(path)) for text in texts]
        raise CorpusError("several folders have parallel text", path=str(path), expected="one of them", got=names)
    return texts[0]


def choose_split(text: RecognisedText, split: str | None) -> str:
    """The name of the asked split in a text; None asks for the only one, or for dev.

    A text without splits, or a single one whose name is not that of a split, is every split.

    Raises:
        CorpusError: there is no such split, or none is asked for and there are several without a dev.
    """
    splits = text.splits
    names = SPLIT_ALIASES.get(split or "dev", (split,))
    chosen = next((name for name in names if name in splits), None)
    if chosen is None and len(splits) == 1 and (split is None or not split_name(splits[0])):
        chosen = splits[0]
    if chosen is None:
        message = "the path has several texts" if split is None else "the text has no such split"
        raise CorpusError(message, path=str(text.path), key="split", expected=list(splits), got=split, page=PAGE)
    return chosen


class ParallelText:
    """One split of a parallel text. Sentences stay in memory once they are read."""

    def __init__(self, text: RecognisedText, split: str) -> None:
        self._text = text
        self._sources = {source: source.code for source in text.of_split(split)}
        self._complete: Mapping[TextSource, tuple[str, ...]] = {}
        self.n_skipped = 0
        """Sentences that were skipped because they are empty in a language."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The tags of the languages, as a recipe may write them."""
        return tuple(dict.fromkeys(recipe_tags(list(self._sources.values())).values()))

    def source(self, language: str) -> TextSource | None:
        """The source of a language; None if the text does not have it.

        Raises:
            CorpusError: several sources match.
        """
        codes = matching_codes(language, list(self._sources.values()))
        if len(codes) == 1:
            codes = (*codes, *(code for code in self._sources.values() if is_same_language(code, codes[0])))
        matches = [source for source, code in self._sources.items() if code in codes]
        if len(matches) > 1:
            others = {code for code in codes if code != codes[0] and not is_same_language(code, codes[0])}
            expected = f"one of the languages {sorted(codes)}" if others else "one file; rename or remove the others"
            files = [source.path.name for source in matches]
            raise CorpusError("several texts match a language", language=language, expected=expected, got=files)
        return matches[0] if matches else None

    def sentences(self, source: TextSource) -> tuple[str, ...]:
        """The sentences of a source, empty ones included unless the layout skips them in all languages.

        Raises:
            CorpusError: a file cannot be read, or the languages of a layout that skips differ in length.
        """
        if not self._text.layout.skips_incomplete:
            return tuple(self._text.layout.read([source])[0])
        if not self._complete:
            self._complete = self._read_complete()
        return self._complete[source]

    def _read_complete(self) -> Mapping[TextSource, tuple[str, ...]]:
        """Read all languages, and leave out what one of them lacks."""
        columns = self._text.layout.read(list(self._sources))
        lengths = {source.code: len(column) for source, column in zip(self._sources, columns, strict=True)}
        if len(set(lengths.values())) > 1:
            raise CorpusError(
                "corpus files are not aligned", path=str(self._text.path), expected="equal lengths", got=lengths
            )
        rows = [row for row in zip(*columns, strict=True) if all(sentence.strip() for sentence in row)]
        self.n_skipped = len(columns[0]) - len(rows)
        if self.n_skipped:
            logger.warning("%s: %d sentences that are empty in a language skipped", self._text.path, self.n_skipped)
        kept = zip(*rows, strict=True) if rows else [() for _ in columns]
        return dict(zip(self._sources, map(tuple, kept), strict=True))
