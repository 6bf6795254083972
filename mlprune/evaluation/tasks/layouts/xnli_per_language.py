"""XNLI with a file per language: as XTREME, XNLI-MT, KorNLI, myXNLI and AfriXNLI publish it.

The rows are in one order in all languages, so an id is the number of a row, from 0. The category is `genre`, if the
file has it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.builtin.xnli import XNLI_LABELS
from mlprune.evaluation.tasks.items import CATEGORY, Row
from mlprune.evaluation.tasks.layouts import layout

SPLITS = {name: name for name in ("train", "dev", "test")} | dict.fromkeys(("val", "valid", "validation"), "dev")
SPLIT = rf"(?P<split>{'|'.join(SPLITS)})"
NAMES = (
    rf"(?:xnli[._-])?{SPLIT}[._/-]{layout.LANGUAGE}\.tsv",
    rf"(?:xnli[._-])?{layout.LANGUAGE}[._/-]{SPLIT}\.tsv",
    rf"multinli\.{SPLIT}\.{layout.LANGUAGE}\.tsv",
    rf"{layout.LANGUAGE}\.genre\.{SPLIT}\.tsv",
)
"""Names of files: `dev-fr.tsv` (XTREME), `xnli.dev.ko.tsv` (KorNLI), `fr.dev.tsv`; of XNLI-MT; of myXNLI."""
HEADERS = {
    "premise": ("premise", "sentence1"),
    "hypothesis": ("hypothesis", "hypo", "sentence2"),
    "label": ("label", "gold_label"),
}
"""Key -> names of its column; myXNLI adds the language to those of sentences. XTREME's files have no header."""
GENRE = "genre"
LABELS: Mapping[str, str | None] = {
    **{name: name for name in XNLI_LABELS},
    "contradictory": "contradiction",
    "-": None,
}
"""Label in a file -> label of the task, or None for a pair without one, which is skipped."""
AFRICAN_HEADER = ["premise", "hypothesis", "label"]
NUMBERS: Mapping[str, str | None] = {str(number): name for number, name in enumerate(XNLI_LABELS)}
"""Label in a file of AfriXNLI -> label of the task. PAWS-X has numbers too, but another header."""


def find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    """Yield the files of each language, or each language of a file with several."""
    for pattern in NAMES:
        for file in layout.files_named(tree, pattern, splits=SPLITS, are_codes=True):
            rows = layout.first_cells(tree.file(file.name), 2)
            languages = [name for name in _languages(rows[0]) if _has_label(rows[1:], name, rows[0])] if rows else []
            for language in languages or ([file.language] if rows and _is_row(rows[0]) else []):
                yield replace(file, language=language or file.language)


def _languages(header: Sequence[str]) -> list[str]:
    """Return the languages in the names of a header's columns: an empty text for names without one, nothing for a line
    that is not a header."""
    suffixes = {"", *(name.rpartition("_")[2] for name in header if "_" in name)}
    return sorted(suffix for suffix in suffixes if _places(header, suffix))


def _has_label(rows: Sequence[Sequence[str]], language: str, header: Sequence[str]) -> bool:
    """Whether the rows, if there are any, have a label of XNLI; PAWS-X has the same columns.

    The first row of AfriXNLI may have a line break.
    """
    if header == AFRICAN_HEADER:
        return True
    place = _places(header, language)["label"]
    return all(len(row) > place and row[place].strip('"') in LABELS for row in rows)


def _is_row(row: Sequence[str]) -> bool:
    """Whether a line is a row of XTREME: premise, hypothesis and label, or no label in its test files."""
    return len(row) == 3 and row[2].strip('"') in LABELS


def _places(header: Sequence[str], language: str) -> dict[str, int]:
    """Return key -> position of its column, for sentences that of the language if any; empty if a key is missing."""
    columns = {
        f"{name}_{language}" if language and key != "label" else name: key
        for key, names in HEADERS.items()
        for name in names
    }
    places = {columns[name]: place for place, name in enumerate(header) if name in columns}
    return places if len(places) == len(HEADERS) else {}


def read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Read the rows of a language, with the labels of the task."""
    table = layout.tab_separated(tree.file(file.name))
    places = _places(table[0], "") or _places(table[0], file.language)
    genre = table[0].index(GENRE) if places and GENRE in table[0] else None
    body = table[1:] if places else table
    labels = {**LABELS, **NUMBERS} if table[0] == AFRICAN_HEADER else LABELS
    places = places or {key: place for place, key in enumerate(HEADERS)}
    rows = (_row(number, values, places, labels=labels, genre=genre) for number, values in enumerate(body))
    return layout.marked_skipped(rows, what="no label")


def _row(
    number: int,
    values: Sequence[str],
    places: Mapping[str, int],
    *,
    labels: Mapping[str, str | None],
    genre: int | None,
) -> Row | None:
    if len(values) <= max(places.values()):
        expected = f"{max(places.values()) + 1} or more"
        raise TaskFileError("a row has too few cells", example=number, expected=expected, got=len(values))
    row = {key: values[place] for key, place in places.items()}
    if row["label"] not in labels:
        raise TaskFileError("unknown label", example=number, expected=list(labels), got=row["label"])
    label = labels[row["label"]]
    category = {} if genre is None or genre >= len(values) else {CATEGORY: values[genre]}
    return None if label is None else {"id": number, **row, "label": label, **category}
