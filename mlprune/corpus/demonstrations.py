"""Demonstrations: choose the texts of each one and write them out.

Follows Kim et al., arXiv:2409.16911. Sentences, documents, task items and code files are all numbered texts here.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mlprune.errors import CorpusError
from mlprune.hashing import ordered_by_hash
from mlprune.vocabulary import ProfileName

Side = Callable[[int, str], str]
"""Number of a text and the end-of-sequence token -> one side of a shot, written out."""
Key = TypeVar("Key", int, str, int | str)


@dataclass(frozen=True)
class Piece:
    """A part of a demonstration: one side of one shot, with its label and the end-of-sequence token."""

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
    """In order, with nothing between them."""
    sentence_ids: tuple[int, ...] = ()
    """Numbers of the texts, from 0, in order; empty for code. A pair counts once, two sides without pairing twice."""

    @property
    def text(self) -> str:
        """All pieces, joined."""
        return "".join(piece.text for piece in self.pieces)


def drawing_order(
    keys: Mapping[int, Key], *, seed: int, left_out: Collection[Key] = (), profile: ProfileName = "corrected"
) -> tuple[int, ...]:
    """The numbers of texts in the order in which they are drawn.

    Texts are ordered by SHA-256 of "seed:key", smallest first. Profile `paper` keeps their order, as published.

    Args:
        keys: number -> what is hashed and compared with `left_out`: the number itself for sentences, the id for items.
    """
    free = {key: number for number, key in keys.items() if key not in left_out}
    if profile == "paper":
        return tuple(sorted(free.values()))
    return tuple(free[key] for key in ordered_by_hash(seed, free))


def draw_groups(
    order: Sequence[int], *, shots: int, samples: int | None, skipped: int = 0, unit: str = "sentences"
) -> list[tuple[int, ...]]:
    """The numbers of each demonstration's texts: demonstration i takes i*(k+s) ... i*(k+s)+k-1 of the order.

    Args:
        shots: k, texts per demonstration.
        samples: number of demonstrations; None for as many as there are texts for.
        skipped: s, texts skipped after each demonstration: 0, or 1 as in the published code.
        unit: what the texts are, for the message.
    Raises:
        CorpusError: there are too few texts.
    """
    step = shots + skipped
    n = (len(order) + skipped) // step if samples is None else samples
    needed = max(n, 1) * step - skipped
    if len(order) < needed:
        gaps = f", {skipped} skipped after each" if skipped else ""
        expected = f"{needed} {unit} ({max(n, 1)} x {shots}{gaps})"
        raise CorpusError("the corpus is too short", expected=expected, got=len(order))
    return [tuple(order[i * step : i * step + shots]) for i in range(n)]


def unpaired_targets(groups: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The numbers of each demonstration's target sides, so that no shot contains a sentence with its translation.

    Demonstrations exchange their target sides in twos: 0 with 1, 2 with 3, and so on. Of an odd number, the last three
    pass theirs on in a circle. So no demonstration contains a sentence with its translation, all targets occur once,
    and the first 2n demonstrations of a set exchange only among themselves. A single demonstration passes its targets
    on from shot to shot.

    Args:
        groups: numbers of the source sides, from `draw_groups`.
    Raises:
        CorpusError: there is one shot in total, so no other sentence.
    """
    if len(groups) == 1:
        (numbers,) = groups
        if len(numbers) == 1:
            message = "a set of one pair cannot be unpaired"
            raise CorpusError(message, expected="at least 2 demonstrations or 2 shots", got="1 demonstration of 1 shot")
        return [(*numbers[1:], numbers[0])]
    n_exchanged = len(groups) if len(groups) % 2 == 0 else len(groups) - 3
    circle = groups[n_exchanged:]
    return [groups[index ^ 1] for index in range(n_exchanged)] + [*circle[1:], *circle[:1]]


def build_demonstration(
    kind: str, sides: Sequence[Side], *, numbers: Sequence[int], end: str, targets: Sequence[int] = ()
) -> Demonstration:
    """Write one demonstration: all sides of each shot, shot after shot.

    Args:
        numbers: of the texts of the shots.
        targets: of the texts of the second sides, if they are others.
    """
    pieces = [
        Piece(side(number, end), side_number, shot)
        for shot, side_numbers in enumerate(zip(numbers, targets or numbers, strict=True))
        for side_number, (side, number) in enumerate(zip(sides, side_numbers, strict=False), start=1)
    ]
    sentence_ids = [number for pair in zip(numbers, targets, strict=True) for number in pair] if targets else numbers
    return Demonstration(kind, tuple(pieces), () if kind == "code" else tuple(sentence_ids))
