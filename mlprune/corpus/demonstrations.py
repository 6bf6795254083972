"""Which sentences or files make which demonstration, and the text of it. docs/method.md section 1 (arXiv 2409.16911).

Tokenising is left to `calibration.py`, reading to `sources.py`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mlprune.corpus.templates import labelled
from mlprune.errors import CorpusError
from mlprune.records import ordered_by_hash


@dataclass(frozen=True)
class Demonstration:
    """One few-shot text."""

    kind: str
    text: str
    sentence_ids: tuple[int, ...] = ()
    """0-based corpus lines in the order they appear; empty for code."""


def chosen_lines(
    n_lines: int, *, shots: int, samples: int, seed: int, left_out: Collection[int] = ()
) -> list[tuple[int, ...]]:
    """Lines of each demonstration: demonstration i takes places i*k ... i*k+k-1 of the seeded order.

    Raises:
        CorpusError: the corpus has too few lines.
    """
    order = ordered_by_hash(seed, (line for line in range(n_lines) if line not in left_out))
    if len(order) < shots * samples:
        raise CorpusError(
            "the corpus is too short", expected=f"{shots * samples} sentences ({samples} x {shots})", got=len(order)
        )
    return [tuple(order[i * shots : (i + 1) * shots]) for i in range(samples)]


def translation_demonstrations(
    pair: tuple[str, str], sides: tuple[Sequence[str], Sequence[str]], *, lines: Sequence[tuple[int, ...]], end: str
) -> list[Demonstration]:
    """`"{Source}: {x_s}" E "{Target}: {x_t}" E`, k times, for every demonstration's lines."""
    return [
        Demonstration(
            kind="translation",
            text="".join(
                labelled(pair[0], sides[0][line], end) + labelled(pair[1], sides[1][line], end) for line in chosen
            ),
            sentence_ids=chosen,
        )
        for chosen in lines
    ]


def monolingual_demonstrations(
    language: str, sentences: Sequence[str], *, lines: Sequence[tuple[int, ...]], end: str
) -> list[Demonstration]:
    """`"{Language}: {x_l}" E`, k times, for every demonstration's lines."""
    return [
        Demonstration("monolingual", "".join(labelled(language, sentences[line], end) for line in chosen), chosen)
        for chosen in lines
    ]


def chosen_files(names: Collection[str], *, samples: int, seed: int) -> list[str]:
    """The first `samples` files of the seeded order, one a demonstration.

    Raises:
        CorpusError: there are too few.
    """
    if len(names) < samples:
        raise CorpusError("too few code files", expected=f"{samples} Python files", got=len(names))
    return list(ordered_by_hash(seed, names)[:samples])


def code_demonstrations(files: Mapping[str, str], names: Sequence[str]) -> list[Demonstration]:
    """One demonstration a file: its text as it is."""
    return [Demonstration("code", files[name]) for name in names]
