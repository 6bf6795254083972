"""Which texts make which demonstration, and the demonstration itself. docs/method.md section 1 (arXiv 2409.16911).

Sentences, documents, task items and files of code are all numbered texts here. Tokenising is left to `calibration.py`,
reading to `sources.py` and `documents.py`, how one text is written to `templates.py`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlprune.errors import CorpusError
from mlprune.hashing import ordered_by_hash
from mlprune.vocabulary import ProfileName

Side = Callable[[int, str], str]
"""Number of a text and the end-of-sequence token -> one side of a shot, written out."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a demonstration: one side of one shot, its label and E included."""

    text: str
    side: int
    """1 for the source or the only side, 2 for the target."""
    shot: int
    """From 0."""


@dataclass(frozen=True)
class Demonstration:
    """One few-shot text."""

    kind: str
    pieces: tuple[Piece, ...]
    """In the order they appear, nothing between them."""
    sentence_ids: tuple[int, ...] = ()
    """0-based numbers of the texts, in the order they appear; empty for code."""

    @property
    def text(self) -> str:
        """The whole of it."""
        return "".join(piece.text for piece in self.pieces)


def drawing_order(
    keys: Mapping[int, Any], *, seed: int, left_out: Collection[Any] = (), profile: ProfileName = "corrected"
) -> tuple[int, ...]:
    """The numbers of texts in the order in which they are drawn.

    By SHA-256 of "seed:key", smallest first; the published code, and so the profile `paper`, takes them as they come.

    Args:
        keys: number -> what is hashed and left out: the number itself for sentences, the id for items.
    """
    free = {key: number for number, key in keys.items() if key not in left_out}
    if profile == "paper":
        return tuple(sorted(free.values()))
    return tuple(free[key] for key in ordered_by_hash(seed, free))


def draw_groups(
    order: Sequence[int], *, shots: int, samples: int | None, skipped: int = 0, unit: str = "sentences"
) -> list[tuple[int, ...]]:
    """The numbers of each demonstration's texts: demonstration i takes places i*(k+s) ... i*(k+s)+k-1 of the order.

    Args:
        shots: k, texts of one demonstration.
        samples: number of demonstrations; None makes as many as there are texts for.
        skipped: s, texts passed over behind each demonstration: 0, or 1 as in the published code.
        unit: what the texts are, for the message.
    Raises:
        CorpusError: there are too few texts.
    """
    step = shots + skipped
    n = (len(order) + skipped) // step if samples is None else samples
    needed = max(n, 1) * step - skipped
    if len(order) < needed:
        passing = f", {skipped} passed over behind each" if skipped else ""
        expected = f"{needed} {unit} ({max(n, 1)} x {shots}{passing})"
        raise CorpusError("the corpus is too short", expected=expected, got=len(order))
    return [tuple(order[i * step : i * step + shots]) for i in range(n)]


def build_demonstration(kind: str, sides: Sequence[Side], *, numbers: Sequence[int], end: str) -> Demonstration:
    """One demonstration: for every text, side after side."""
    pieces = [
        Piece(side(number, end), place, shot)
        for shot, number in enumerate(numbers)
        for place, side in enumerate(sides, start=1)
    ]
    return Demonstration(kind, tuple(pieces), () if kind == "code" else tuple(numbers))
