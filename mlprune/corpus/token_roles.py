"""Token roles: the side and shot of a demonstration that a token belongs to, and the tokens that a scope counts."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mlprune.corpus.demonstrations import Piece
from mlprune.errors import CorpusError
from mlprune.vocabulary import DemonstrationKind, TokenScope

NO_SIDE, NO_SHOT = 0, -1
"""Roles of a token outside all shots: padding, and tokens that the tokenizer adds, such as a leading BOS."""

SOURCE, TARGET = 1, 2
"""Sides. The only side of a set without a target is the source."""

SCOPES: Mapping[DemonstrationKind, tuple[TokenScope, ...]] = {
    "translation": ("all", "source", "target", "last_shot"),
    "monolingual": ("all", "source", "last_shot"),
    "code": ("all", "last_shot"),
    "text": ("all", "last_shot"),
    "task": ("all", "last_shot"),
    "generated": ("all", "last_shot"),
    "mixed": ("all", "source", "target", "last_shot"),
}
"""Kind of set -> its scopes. A scope of a mixed set also has to be one of all its parts."""


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
    """[n] bool: the tokens of one demonstration that a scope counts. Special tokens count in `all` only."""
    token_sides, token_shots = np.asarray(sides), np.asarray(shots)
    if scope == "all":
        return np.ones(token_sides.shape, dtype=np.bool_)
    if scope == "last_shot":
        return np.asarray((token_shots == token_shots.max()) & (token_shots != NO_SHOT), dtype=np.bool_)
    return np.asarray(token_sides == {"source": SOURCE, "target": TARGET}[scope], dtype=np.bool_)


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
