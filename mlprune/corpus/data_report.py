"""Reports on data at a path: what was recognised, how much of it, and what would stop a recipe."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlprune.corpus.layouts.language_codes import recipe_tags
from mlprune.corpus.layouts.parallel_text import ParallelText, RecognisedText, choose_split, recognise
from mlprune.corpus.layouts.text_layout import TextSource
from mlprune.errors import CorpusError

MOST_LISTED = 8
"""Languages that one problem or note names."""


@dataclass(frozen=True)
class DataRow:
    """One language and split."""

    language: str
    """The tag to write in a recipe."""
    code: str
    """The language as the publisher writes it, or empty."""
    split: str
    n: int
    first: str
    """The first sentence or example."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """Right answer -> number of examples; empty for sentences."""
    chance: float | None = None
    """Accuracy of guessing; None for sentences."""


@dataclass(frozen=True)
class DataReport:
    """The data of one layout at a path."""

    layout: str
    example: str
    """Names of files in this layout."""
    recipe: str
    """Line of a recipe that reads the data."""
    rows: tuple[DataRow, ...] = ()
    problems: tuple[str, ...] = ()
    """What a recipe that reads the data would be refused for."""
    notes: tuple[str, ...] = ()
    """What does not stop a recipe."""


def text_report(path: Path, *, split: str | None = None) -> DataReport | None:
    """Read all languages of parallel text; None if the path is something else.

    Args:
        split: the only split to read, as in `choose_split`; None reads all.
    Raises:
        CorpusError: the path is an archive, several folders below it are parallel text, or there is no such split.
    """
    text = recognise(path)
    if text is None:
        return None
    splits = text.splits if split is None else (choose_split(text, split),)
    rows: list[DataRow] = []
    problems: list[str] = []
    notes: list[str] = []
    for name in splits:
        parallel = ParallelText(text, name)
        columns = _read_columns(parallel, text.of_split(name), problems)
        tags = recipe_tags([source.code for source in columns])
        rows += [
            DataRow(tags[source.code], source.code, name, len(column), next(filter(None, column), ""))
            for source, column in sorted(columns.items(), key=lambda item: tags[item[0].code])
        ]
        problems += _misaligned(name, columns)
        problems += _same_code(name, columns)
        notes += _repeated(name, columns)
        if parallel.n_skipped:
            notes.append(f"{_in_split(name)}skipped because empty in a language: {parallel.n_skipped:,}")
    default = _default_split(text)
    if len(text.splits) > 1:
        notes.insert(
            0, f"a corpus without the key split reads {default}" if default else "a corpus needs the key split"
        )
    chosen = split or ("" if default else text.splits[0])
    key = f", split: {chosen}" if chosen else ""
    recipe = f"corpus: {{kind: parallel_text, path: {path}{key}}}"
    return DataReport(text.layout.name, text.layout.example, recipe, tuple(rows), tuple(problems), tuple(notes))


def _default_split(text: RecognisedText) -> str:
    try:
        return choose_split(text, None)
    except CorpusError:
        return ""


def _read_columns(
    text: ParallelText, sources: Sequence[TextSource], problems: list[str]
) -> dict[TextSource, tuple[str, ...]]:
    """Read each language; add one problem for each that cannot be read or has empty sentences."""
    columns: dict[TextSource, tuple[str, ...]] = {}
    for source in sources:
        try:
            column = text.sentences(source)
        except CorpusError as err:
            if str(err) not in problems:
                problems.append(str(err))
            continue
        columns[source] = column
        empty = [number for number, sentence in enumerate(column, start=1) if not sentence.strip()]
        if empty or not column:
            first = f", the first in line {empty[0]}" if empty else ""
            problems.append(f"{source.path.name}: {len(empty):,} of {len(column):,} sentences are empty{first}")
        with_nul = [number for number, sentence in enumerate(column, start=1) if "\0" in sentence]
        if with_nul:
            name = source.path.name
            problems.append(f"{name}: sentences with a NUL: {len(with_nul):,}, the first in line {with_nul[0]}")
    return columns


def _misaligned(split: str, columns: Mapping[TextSource, Sequence[str]]) -> list[str]:
    lengths = Counter(map(len, columns.values()))
    if len(lengths) < 2:
        return []
    usual = lengths.most_common(1)[0][0]
    others = [f"{source.code} {len(column):,}" for source, column in columns.items() if len(column) != usual]
    more = f" and {len(others) - MOST_LISTED} more" if len(others) > MOST_LISTED else ""
    return [f"{_in_split(split)}not aligned: {usual:,} sentences, but {', '.join(others[:MOST_LISTED])}{more}"]


def _same_code(split: str, sources: Iterable[TextSource]) -> list[str]:
    """One problem for each code that several files have, such as `en.txt` and `en.txt.gz`."""
    files: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        files[source.code].append(source.path.name)
    return [
        f"{_in_split(split)}several texts of one language, remove all but one: {', '.join(sorted(names))}"
        for names in files.values()
        if len(names) > 1
    ]


def _repeated(split: str, columns: Mapping[TextSource, Sequence[str]]) -> list[str]:
    """One note with the number of repeated sentences of each language that has some."""
    repeated = {source.code: len(column) - len(set(column)) for source, column in columns.items()}
    counts = [f"{code} {n:,}" for code, n in repeated.items() if n]
    more = f" and in {len(counts) - MOST_LISTED} more languages" if len(counts) > MOST_LISTED else ""
    return [f"{_in_split(split)}repeated sentences: {', '.join(counts[:MOST_LISTED])}{more}"] if counts else []


def _in_split(split: str) -> str:
    return f"{split}: " if split else ""
