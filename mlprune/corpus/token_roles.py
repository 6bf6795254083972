"""Which side and shot of a demonstration a token belongs to, and which tokens a scope of the statistics counts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlprune.corpus.demonstrations import Piece
from mlprune.errors import CorpusError
from mlprune.vocabulary import DemonstrationKind, TokenScope

NO_SIDE, NO_SHOT = 0, -1
"""Roles of a token that is part of no shot: one that the tokenizer adds, such as a leading BOS, and padding."""

SOURCE, TARGET = 1, 2
"""Sides; the only side of a set without a target is the source."""

SCOPES: Mapping[DemonstrationKind, tuple[TokenScope, ...]] = {
    "translation": ("all", "source", "target", "last_shot"),
    "monolingual": ("all", "source", "last_shot"),
    "code": ("all", "last_shot"),
    "text": ("all", "last_shot"),
    "task": ("all", "last_shot"),
    "mixed": ("all", "source", "target", "last_shot"),
}
"""Kind of set -> the scopes that mean something there; in a mixed set the kinds of all its parts have a say as well."""


def scopes_of(kind: DemonstrationKind) -> tuple[TokenScope, ...]:
    """The token scopes that a kind of set knows, in the profile `corrected`; the profile `paper` counts all tokens."""
    return SCOPES[kind]


def token_roles(
    pieces: Sequence[Piece], offsets: Sequence[tuple[int, int]], *, special: Sequence[int]
) -> tuple[list[int], list[int]]:
    """The side and the shot of every token: those of the piece that its last character stands in.

    The last, not the first: a token may begin with the white space before its word, and an offset that leaves such
    white space out is empty and ends behind it.

    Args:
        pieces: of the demonstration, one after the other.
        offsets: [start, end) of every token in the text, in characters.
        special: 1 at tokens that the tokenizer added to the text.
    Returns: sides and shots, one each a token.
    """
    ends = np.cumsum([len(piece.text) for piece in pieces])
    last = np.array([max(end - 1, 0) for _, end in offsets], dtype=np.int64)
    place = np.searchsorted(ends, last, side="right").clip(max=len(pieces) - 1)
    own = [not added for added in special]
    sides = [pieces[at].side if real else NO_SIDE for at, real in zip(place.tolist(), own, strict=True)]
    shots = [pieces[at].shot if real else NO_SHOT for at, real in zip(place.tolist(), own, strict=True)]
    return sides, shots


def scope_mask(sides: Sequence[int], shots: Sequence[int], *, scope: TokenScope) -> NDArray[np.bool_]:
    """[n] True at the tokens of one demonstration that a scope counts; special tokens are in `all` only."""
    own_sides, own_shots = np.asarray(sides), np.asarray(shots)
    if scope == "all":
        return np.ones(own_sides.shape, dtype=np.bool_)
    if scope == "last_shot":
        return np.asarray((own_shots == own_shots.max()) & (own_shots != NO_SHOT), dtype=np.bool_)
    return np.asarray(own_sides == {"source": SOURCE, "target": TARGET}[scope], dtype=np.bool_)


def check_scope(kind: Any, scope: TokenScope, *, profile: str, known: Sequence[TokenScope]) -> None:
    """Refuse a scope that means nothing.

    Raises:
        CorpusError: the kind of set does not know the scope, or the profile counts all tokens.
    """
    if profile == "paper" and scope != "all":
        message = "the profile paper counts all tokens, padding included"
        raise CorpusError(message, kind=kind, token_scope=scope, expected=("all",))
    if scope not in known:
        raise CorpusError("a set has no such tokens", kind=kind, token_scope=scope, expected=tuple(known))
