"""Demonstrations: choose the texts of each one, write them out, and mark the roles of tokens.

Demonstrations: choose the texts of each one and write them out.

Follows Kim et al., arXiv:2409.16911. Sentences, documents, task items and code files are all numbered texts here.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import CorpusError
from mlprune.hashing import ordered_by_hash
from mlprune.vocabulary import DemonstrationKind, OrderName, SharesName, TokenScope

NumericShares = Sequence[float]
"""One positive number per part, in any unit."""
Side = Callable[[int, str], str]
"""Number of a text and the end-of-sequence token -> one side of a shot, written out."""
Key = TypeVar("Key", int, str, int | str)
NO_SIDE, NO_SHOT = 0, -1
"""Roles of a token outside all shots: padding, and tokens that the tokenizer or a chat template adds, such as a BOS."""
SOURCE, TARGET = 1, 2
"""Sides. The only side of a set without a target is the source."""
SIDES: Mapping[str, int] = {"source": SOURCE, "target": TARGET}
"""Name of a side, which is also the token scope of its tokens -> its number."""
SCOPES: Mapping[DemonstrationKind, tuple[TokenScope, ...]] = {
    "translation": ("all", "content", "source", "target", "last_shot"),
    "monolingual": ("all", "content", "source", "last_shot"),
    "code": ("all", "content", "last_shot"),
    "text": ("all", "content", "last_shot"),
    "task": ("all", "content", "last_shot"),
    "generated": ("all", "content", "last_shot"),
    "mixed": ("all", "content", "source", "target", "last_shot"),
}
"""Kind of set -> its scopes. A scope of a mixed set also has to be one of all its parts."""


def part_counts(
    sizes: Sequence[int], *, shares: SharesName | NumericShares, samples: int | None = None
) -> tuple[int, ...]:
    """The number of demonstrations that a mixed set takes from each part; it takes the first ones.

    Without `samples`, equal shares take as many from every part as the smallest part has. Proportional shares take all.
    Numeric shares take the largest total for which every part has enough.

    With `samples`, equal shares differ by at most one, and earlier parts get more. Proportional shares are the quotas
    samples * size / total, rounded down; the remaining demonstrations go to the largest remainders, and among equal
    remainders to the earlier part. Numeric shares are rounded in the same way, with their exact decimal values in the
    place of the sizes.

    Args:
        sizes: demonstrations in each part.
        samples: demonstrations of the mixed set.
    Raises:
        CorpusError: a part has too few demonstrations, or would contribute none.
    """
    if samples is None:
        return _largest(sizes, shares)
    counts = _counts(samples, sizes, shares)
    for part, (wanted, size) in enumerate(zip(counts, sizes, strict=True), start=1):
        if wanted > size:
            message = "a part of a mixed set has too few demonstrations"
            raise CorpusError(message, part=part, shares=_text(shares), expected=f"at least {wanted}", got=size)
        if wanted == 0:
            message = "a part would contribute no demonstration to the mixed set"
            raise CorpusError(message, part=part, shares=_text(shares), expected="more samples", got=samples)
    return counts


def exact_shares(shares: NumericShares) -> tuple[Fraction, ...]:
    """Return shares that sum to 1, computed from the decimal texts of the numbers.

    Raises:
        CorpusError: one is not a positive finite number.
    """
    numbers = [Decimal(str(share)) for share in shares]
    if not all(number.is_finite() and number > 0 for number in numbers):
        raise CorpusError("a share is not a positive number", expected="numbers above 0", got=list(shares))
    total = sum(map(Fraction, numbers))
    return tuple(Fraction(number) / total for number in numbers)


def _counts(samples: int, sizes: Sequence[int], shares: SharesName | NumericShares) -> tuple[int, ...]:
    if shares == "equal":
        return tuple(samples // len(sizes) + (part < samples % len(sizes)) for part in range(len(sizes)))
    if isinstance(shares, str):
        return _by_largest_remainder(samples, [Fraction(size, sum(sizes)) for size in sizes])
    return _by_largest_remainder(samples, exact_shares(shares))


def _largest(sizes: Sequence[int], shares: SharesName | NumericShares) -> tuple[int, ...]:
    """The largest counts that the parts allow.

    Raises:
        CorpusError: a part would contribute none.
    """
    if isinstance(shares, str):
        return (min(sizes),) * len(sizes) if shares == "equal" else tuple(sizes)
    exact = exact_shares(shares)
    quotas = ((size + 1) / share for size, share in zip(sizes, exact, strict=True))
    bound = min(sum(sizes), ceil(min(quotas)) - 1)  # a quota of size + 1 takes more than the part has
    for samples in range(bound, 0, -1):
        counts = _by_largest_remainder(samples, exact)
        if all(count <= size for count, size in zip(counts, sizes, strict=True)):
            return part_counts(sizes, shares=shares, samples=samples)
    raise CorpusError("the parts of a mixed set are too small for its shares", shares=_text(shares), got=list(sizes))


def _by_largest_remainder(samples: int, shares: Sequence[Fraction]) -> tuple[int, ...]:
    """Whole numbers in proportion to shares that sum to 1, by the largest remainder method."""
    quotas = [samples * share for share in shares]
    counts = [int(quota) for quota in quotas]
    by_remainder = sorted(range(len(shares)), key=lambda part: (counts[part] - quotas[part], part))
    for part in by_remainder[: samples - sum(counts)]:
        counts[part] += 1
    return tuple(counts)


def _text(shares: SharesName | NumericShares) -> str:
    return shares if isinstance(shares, str) else ", ".join(f"{share:g}" for share in shares)


@dataclass(frozen=True)
class Piece:
    """A part of a demonstration: one side of one shot, with its label and the end-of-sequence token."""

    text: str
    side: int
    """1 for the source or the only side, 2 for the target."""
    shot: int
    """From 0."""
    is_target: bool = False
    """Whether it is what follows from the part before it: a translation, an answer, or a turn of the assistant."""


@dataclass(frozen=True)
class Demonstration:
    """One few-shot text."""

    kind: str
    pieces: tuple[Piece, ...]
    """In order, with nothing between them."""
    sentence_ids: tuple[int, ...] = ()
    """Numbers of the texts, from 0, in order; empty for code. A pair counts once, two sides without pairing twice."""
    has_special_tokens: bool = False
    """Whether the text contains its special tokens, as a chat does, so that the tokenizer adds none."""

    @property
    def text(self) -> str:
        """All pieces, joined."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def target_start(self) -> int | None:
        """Index of the first character of the first target; None without targets."""
        start = 0
        for piece in self.pieces:
            if piece.is_target:
                return start
            start += len(piece.text)
        return None


def drawing_order(
    keys: Mapping[int, Key], *, seed: int, left_out: Collection[Key] = (), order: OrderName = "hashed"
) -> tuple[int, ...]:
    """The numbers of texts in the order in which they are drawn.

    Args:
        keys: number -> what is hashed and compared with `left_out`: the number itself for sentences, the id for items.
        order: `hashed`: by SHA-256 of "seed:key", smallest first. `file`: ascending numbers. `shuffled`: all numbers as
            `Dataset.shuffle(seed)` of the library `datasets` orders them, by a permutation of NumPy's default
            generator; texts that are left out are then skipped.
    """
    free = {key: number for number, key in keys.items() if key not in left_out}
    if order == "hashed":
        return tuple(free[key] for key in ordered_by_hash(seed, free))
    numbers = sorted(keys)
    if order == "shuffled":
        numbers = [numbers[place] for place in np.random.default_rng(seed).permutation(len(numbers))]
    return tuple(number for number in numbers if keys[number] not in left_out)


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
    """Write one demonstration: all sides of each shot, shot after shot. The second one is the target.

    Only translations have a second side in another language. Other kinds have one side, in one or two parts.

    Args:
        numbers: of the texts of the shots.
        targets: of the texts of the second sides, if they are others.
    """
    pieces = [
        Piece(side(number, end), part if kind == "translation" else SOURCE, shot, is_target=part == TARGET)
        for shot, part_numbers in enumerate(zip(numbers, targets or numbers, strict=True))
        for part, (side, number) in enumerate(zip(sides, part_numbers, strict=False), start=SOURCE)
    ]
    sentence_ids = [number for pair in zip(numbers, targets, strict=True) for number in pair] if targets else numbers
    return Demonstration(kind, tuple(pieces), () if kind == "code" else tuple(sentence_ids))


def scopes_of(kind: DemonstrationKind) -> tuple[TokenScope, ...]:
    """The token scopes of a kind of set, with profile `corrected`. Profile `paper` counts all tokens."""
    return SCOPES[kind]


def token_roles(
    pieces: Sequence[Piece], offsets: Sequence[tuple[int, int]], *, special: Sequence[int]
) -> tuple[list[int], list[int]]:
    """The side and the shot of every token: those of the piece with the token's last character.

    The last character counts because a token may begin with the white space before its word. If an offset leaves this
    white space out, it may be empty and end after it.

    Args:
        pieces: all pieces of the demonstration, in order.
        offsets: [start, end) of every token in the text, in characters.
        special: 1 for tokens that the tokenizer added to the text.
    Returns: sides and shots, one of each per token.
    """
    ends = np.cumsum([len(piece.text) for piece in pieces])
    last_characters = np.array([max(end - 1, 0) for _, end in offsets], dtype=np.int64)
    piece_indices = np.searchsorted(ends, last_characters, side="right").clip(max=len(pieces) - 1).tolist()
    sides = [NO_SIDE if added else pieces[index].side for index, added in zip(piece_indices, special, strict=True)]
    shots = [NO_SHOT if added else pieces[index].shot for index, added in zip(piece_indices, special, strict=True)]
    return sides, shots


def scope_mask(sides: Sequence[int], shots: Sequence[int], *, scope: TokenScope) -> NDArray[np.bool_]:
    """[n] bool: the tokens of one demonstration that a scope counts.

    Special tokens that the tokenizer adds, and tokens of a chat template, count in `all` only.
    """
    token_sides, token_shots = np.asarray(sides), np.asarray(shots)
    if scope == "all":
        return np.ones(token_sides.shape, dtype=np.bool_)
    if scope == "content":
        return np.asarray(token_sides != NO_SIDE, dtype=np.bool_)
    if scope == "last_shot":
        return np.asarray((token_shots == token_shots.max()) & (token_shots != NO_SHOT), dtype=np.bool_)
    return np.asarray(token_sides == SIDES[scope], dtype=np.bool_)


def check_scope(kind: str, scope: TokenScope, *, profile: str, known: Sequence[TokenScope]) -> None:
    """Refuse a scope without meaning for a set.

    Raises:
        CorpusError: the kind of set does not have the scope, or the profile counts all tokens.
    """
    if profile == "paper" and scope != "all":
        message = "the profile paper counts all tokens, padding included"
        raise CorpusError(message, kind=kind, token_scope=scope, expected=("all",))
    if scope not in known:
        raise CorpusError("a set has no such tokens", kind=kind, token_scope=scope, expected=tuple(known))
