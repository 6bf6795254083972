"""Reports on data at a path: what was recognised, how much of it, and what would stop a recipe."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mlprune.corpus.layouts.parallel_text import ParallelText, RecognisedText, choose_split, recognise
from mlprune.corpus.layouts.text_layout import TextSource, is_same_language, recipe_tags
from mlprune.errors import CorpusError

MOST_LISTED = 8
"""Languages that one problem or note names."""
LEAST_LANGUAGES = 2
"""Languages without a problem that make parallel text usable."""


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
    """Line of a recipe that reads the data; empty if every recipe would be refused."""
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
    usable: list[str] = []
    for name in splits:
        parallel = ParallelText(text, name)
        columns, wrong = _read_columns(parallel, text.of_split(name))
        tags = recipe_tags([source.code for source in columns])
        rows += [
            DataRow(tags[source.code], source.code, name, len(column), next(filter(None, column), ""))
            for source, column in sorted(columns.items(), key=lambda item: tags[item[0].code])
        ]
        wrong += _same_language(columns)
        wrong += _misaligned(columns, wrong)
        codes = {code for one in wrong for code in one.codes}
        messages = [f"{_in_split(name)}{message}" for message in dict.fromkeys(one.message for one in wrong)]
        if wrong and len({source.code for source in text.of_split(name)} - codes) < LEAST_LANGUAGES:
            problems += messages
        else:
            usable.append(name)
            notes += [f"a recipe that names one of these languages would be refused: {message}" for message in messages]
        notes += _repeated(name, columns)
        if parallel.n_skipped:
            notes.append(f"{_in_split(name)}skipped because empty in a language: {parallel.n_skipped:,}")
    default = _default_split(text)
    if len(text.splits) > 1:
        notes.insert(
            0, f"a corpus without the key split reads {default}" if default else "a corpus needs the key split"
        )
    chosen = next((name for name in (*([] if split else [default]), *splits) if name in usable), None)
    key = f", split: {split or chosen}" if split or chosen != default else ""
    recipe = "" if chosen is None else f"corpus: {{kind: parallel_text, path: {path}{key}}}"
    return DataReport(text.layout.name, text.layout.example, recipe, tuple(rows), tuple(problems), tuple(notes))


class _Wrong(NamedTuple):
    """Why a recipe cannot name some languages."""

    codes: tuple[str, ...]
    message: str


def _default_split(text: RecognisedText) -> str | None:
    try:
        return choose_split(text, None)
    except CorpusError:
        return None


def _read_columns(
    text: ParallelText, sources: Sequence[TextSource]
) -> tuple[dict[TextSource, tuple[str, ...]], list[_Wrong]]:
    """Read each language; also return those that cannot be read or have empty sentences."""
    columns: dict[TextSource, tuple[str, ...]] = {}
    wrong: list[_Wrong] = []
    for source in sources:
        name, code = source.path.name, (source.code,)
        try:
            column = text.sentences(source)
        except CorpusError as err:
            wrong.append(_Wrong(code, str(err)))
            continue
        columns[source] = column
        empty = [number for number, sentence in enumerate(column, start=1) if not sentence.strip()]
        if empty or not column:
            first = f", the first in line {empty[0]}" if empty else ""
            wrong.append(_Wrong(code, f"{name}: {len(empty):,} of {len(column):,} sentences are empty{first}"))
        with_nul = [number for number, sentence in enumerate(column, start=1) if "\0" in sentence]
        if with_nul:
            message = f"{name}: sentences with a NUL: {len(with_nul):,}, the first in line {with_nul[0]}"
            wrong.append(_Wrong(code, message))
    return columns, wrong


def _misaligned(columns: Mapping[TextSource, Sequence[str]], wrong: Sequence[_Wrong]) -> list[_Wrong]:
    """Return the languages of another length than most of those that are not wrong in another way."""
    codes = {code for one in wrong for code in one.codes}
    lengths = Counter(len(column) for source, column in columns.items() if source.code not in codes)
    if not lengths:
        return []
    usual = lengths.most_common(1)[0][0]
    others = {source.code: len(column) for source, column in columns.items() if len(column) != usual}
    if not others:
        return []
    listed = [f"{code} {n:,}" for code, n in others.items()]
    more = f" and {len(listed) - MOST_LISTED} more" if len(listed) > MOST_LISTED else ""
    return [_Wrong(tuple(others), f"not aligned: {usual:,} sentences, but {', '.join(listed[:MOST_LISTED])}{more}")]


def _same_language(sources: Iterable[TextSource]) -> list[_Wrong]:
    """Return the languages of several files, such as `en.txt` and `en.txt.gz`, or `yo.txt` and `yor_Latn.txt`."""
    groups: list[list[TextSource]] = []
    for source in sources:
        group = next((group for group in groups if _is_same(source, group[0])), None)
        if group is None:
            groups.append([source])
        else:
            group.append(source)
    wrong = []
    for group in groups:
        if len(group) > 1:
            names = ", ".join(sorted(source.path.name for source in group))
            codes = tuple(source.code for source in group)
            wrong.append(_Wrong(codes, f"several texts of one language, remove all but one: {names}"))
    return wrong


def _is_same(source: TextSource, other: TextSource) -> bool:
    return source.code == other.code or is_same_language(source.code, other.code)


def _repeated(split: str, columns: Mapping[TextSource, Sequence[str]]) -> list[str]:
    """One note with the number of repeated sentences of each language that has some."""
    repeated = {source.code: len(column) - len(set(column)) for source, column in columns.items()}
    counts = [f"{code} {n:,}" for code, n in repeated.items() if n]
    more = f" and in {len(counts) - MOST_LISTED} more languages" if len(counts) > MOST_LISTED else ""
    return [f"{_in_split(split)}repeated sentences: {', '.join(counts[:MOST_LISTED])}{more}"] if counts else []


def _in_split(split: str) -> str:
    return f"{split}: " if split else ""
