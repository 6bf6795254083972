"""The description of a layout of parallel text, and the files that it finds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "dev", "valid", "validation", "devtest", "test")
"""Names of files and folders that are splits."""


@dataclass(frozen=True)
class TextSource:
    """The sentences of one language and split."""

    path: Path
    code: str
    """The language as the publisher writes it."""
    split: str = ""
    """The split, or another name that distinguishes the texts of a path; empty if the path has one text."""


@dataclass(frozen=True)
class TextLayout:
    """A layout of parallel text."""

    name: str
    example: str
    """Names of files, for messages and documentation."""
    find: Callable[[Path], Sequence[TextSource]]
    """Function that lists the sources of a path; none if the path has another layout."""
    read: Callable[[Sequence[TextSource]], list[list[str]]]
    """Function that reads the sentences of some sources of one split, empty ones included."""
    skips_incomplete: bool = False
    """Whether a sentence that is empty in one language of the text is skipped in all of them, instead of refused."""


def files_in(path: Path) -> list[Path]:
    """The files of a folder in the order of their names; a file stands for itself."""
    if path.is_dir():
        return sorted(child for child in path.iterdir() if child.is_file())
    return [path] if path.is_file() else []


def split_name(name: str) -> str:
    """The name if it is a split, else empty."""
    return name if name in SPLITS else ""
