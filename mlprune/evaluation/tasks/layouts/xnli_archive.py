"""XNLI's archive: `xnli.dev.tsv` and `xnli.test.tsv` with all languages in one file, and the same rows as JSON lines.

An example is the same in all languages if `pairID` is. The three hypotheses of a premise share `promptID`, their
cluster; the category is `genre`, if the file has it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from mlprune.corpus.text_files import read_cells, read_json_lines
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import CATEGORY, CLUSTER, Row
from mlprune.evaluation.tasks.layouts import layout
from mlprune.languages import language_tag

COLUMNS = ("language", "gold_label", "sentence1", "sentence2", "pairID")
GROUPS = ("promptID", "genre")
"""Columns of the cluster and the category, which copies of the files may lack."""
SPLITS = ("dev", "test")
NO_GOLD = "-"
"""Label of pairs whose annotators did not agree, in the style of MultiNLI; they are skipped."""


def find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    """Yield one entry per language of each file; of a table and JSON lines for one split, the table is read."""
    for split in SPLITS:
        tables, objects = (_named(tree, f"xnli.{split}.{ending}") for ending in ("tsv", "jsonl"))
        for name in tables or objects:
            yield from (layout.TaskFile(name, language, split) for language in _by_language(tree, name))


def _named(tree: layout.FileTree, base: str) -> list[str]:
    names = [name for name in tree.names if name.rpartition("/")[2] in (base, f"{base}.gz", f"{base}.zst")]
    return [name for name in names if _has_columns(tree.file(name))]


def _has_columns(path: Path) -> bool:
    columns = (
        layout.first_object(path)
        if ".jsonl" in path.name
        else [cell for row in layout.first_cells(path) for cell in row]
    )
    return set(COLUMNS) <= set(columns)


def read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Return the rows of a language."""
    return _by_language(tree, file.name)[file.language]


def _by_language(tree: layout.FileTree, name: str) -> Mapping[str, list[Row]]:
    path = tree.file(name)
    stat = path.stat()
    return _rows_of_languages(path, (stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=2)
def _rows_of_languages(path: Path, version: tuple[int, int]) -> Mapping[str, list[Row]]:
    """Return the rows of each language; `version` makes a changed file another key of the cache."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for language, label, premise, hypothesis, pair, prompt, genre in _values(path):
        if label != NO_GOLD:
            row = {"id": pair, "premise": premise, "hypothesis": hypothesis, "label": label}
            row |= {CLUSTER: prompt, CATEGORY: genre}
            rows[language_tag(str(language))].append(row)
    return rows


def _values(path: Path) -> Iterator[tuple[object, ...]]:
    """Yield the values of `COLUMNS` and `GROUPS` for each row; None for those of `GROUPS` that the file lacks."""
    if ".jsonl" in path.name:
        for row in read_json_lines(path):
            yield tuple(row.get(column) for column in (*COLUMNS, *GROUPS))
        return
    table = read_cells(path)
    _, header = next(table)
    places = [header.index(column) for column in COLUMNS]
    group_places = [header.index(column) if column in header else None for column in GROUPS]
    for line, values in table:
        if len(values) <= max(places):
            context = {"file": str(path), "line": line, "expected": len(header), "got": len(values)}
            raise TaskFileError("a row has too few cells", context)
        groups = (values[place] if place is not None and place < len(values) else None for place in group_places)
        yield (*(values[place] for place in places), *groups)
