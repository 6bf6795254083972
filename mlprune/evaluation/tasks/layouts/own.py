"""The project's own task files: `fr.test.jsonl`, `fra_Latn.test.jsonl.gz`, `fr.test.parquet`."""

import re
from collections.abc import Iterator, Sequence

from mlprune.corpus.text_files import read_rows
from mlprune.evaluation.tasks.items import Row
from mlprune.evaluation.tasks.layouts import layout
from mlprune.languages import language_file_stems, language_tag
from mlprune.vocabulary import SUFFIXES

NOT_LANGUAGES = ("val", "dev")
"""First parts of names that look like a language; other layouts begin with a split."""


def own_names(language: str, split: str, suffixes: Sequence[str] = SUFFIXES) -> list[str]:
    """Return the names of the file of a language and split, in the order in which they are tried."""
    return [f"{stem}.{split}{suffix}" for stem in language_file_stems(language) for suffix in suffixes]


def own_file(
    tree: layout.FileTree, *, language: str, split: str, suffixes: Sequence[str] = SUFFIXES
) -> layout.TaskFile | None:
    """Return the first of `own_names` that is in a folder itself, if any; a language may have any name."""
    files = {name.rpartition("/")[2]: name for name in tree.names if name.count("/") <= 1}
    name = next((files[name] for name in own_names(language, split, suffixes) if name in files), None)
    return None if name is None else layout.TaskFile(name, language, split)


def find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    """Yield the file of each language, named like one, and split."""
    pattern = re.compile(rf"(?:[^/]*/)?{layout.LANGUAGE}\.(?P<split>[^/]+?)(?:{'|'.join(map(re.escape, SUFFIXES))})")
    matches = [match for match in map(pattern.fullmatch, tree.names) if match is not None]
    pairs = [
        (language_tag(match["language"]), match["split"]) for match in matches if match["language"] not in NOT_LANGUAGES
    ]
    for language, split in dict.fromkeys(pairs):
        file = own_file(tree, language=language, split=split)
        if file is not None:
            yield file


def read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Read the rows of a file."""
    return read_rows(tree.file(file.name))
