"""A corpus as plain values, and the corpus itself, which each process opens once."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mlprune.corpus.sources import CldrCorpus, ParallelCorpus
from mlprune.errors import CorpusError


@dataclass(frozen=True)
class CorpusRef:
    """A corpus as plain values that jobs pass on."""

    kind: str
    path: str = ""
    lines: int = 0
    seed: int = 0
    split: str | None = None
    """Split of parallel text; None for the only one, or for dev."""


@cache
def open_corpus(ref: CorpusRef) -> ParallelCorpus:
    """The corpus. Lines stay in memory once they are read."""
    if ref.kind == "cldr":
        return CldrCorpus(n_lines=ref.lines, seed=ref.seed)
    return ParallelCorpus(Path(ref.path), ref.split)


def is_same_text(first: CorpusRef, second: CorpusRef, language: str) -> bool:
    """Whether two corpora read the same file in a language, so that equal line numbers are equal sentences."""
    if first == second:
        return True
    if "cldr" in (first.kind, second.kind):
        return False
    try:
        sources = [open_corpus(ref).source(language) for ref in (first, second)]
    except CorpusError:
        return False
    return sources[0].code == sources[1].code and sources[0].path.samefile(sources[1].path)
