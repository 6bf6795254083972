"""Where texts are cut: beginnings that several share are run once.

Texts are looked at as a tree of beginnings. A text has two parts, a prefix that others may share and the rest; where to
cut is chosen such that few tokens are run: at every node of the tree, from the leaves on, texts share its beginning
where that costs less. (Of 3,000 small sets 3 could have been cut better, by one token.) So candidates share their
question, questions behind one few-shot head share the head, and equal texts are run once. Nothing here depends on the
order of the texts. Which prefixes are run together is decided in `batches.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mlprune.errors import BadInputError

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class ScoredText:
    """A text and the part of it that is scored.

    Raises:
        BadInputError: nothing is scored, or the first token is: nothing precedes it.
    """

    tokens: Tokens
    n_context: int
    """Tokens at the beginning that are given and not scored, >= 1."""

    def __post_init__(self) -> None:
        if not 1 <= self.n_context < len(self.tokens):
            expected = f"1 to {len(self.tokens) - 1} tokens of context"
            raise BadInputError("nothing is scored, or nothing is given", expected=expected, got=self.n_context)

    @property
    def inputs(self) -> Tokens:
        """The tokens that are run: all but the last."""
        return self.tokens[:-1]


@dataclass(frozen=True)
class Stem:
    """Texts that are run behind one prefix."""

    prefix: Tokens
    members: tuple[int, ...]
    rest: tuple[int, ...]
    """Tokens that each member runs behind the prefix."""


@dataclass(frozen=True)
class _Part:
    """Texts that are run behind one prefix, for now."""

    depth: int
    """Length of the prefix."""
    texts: tuple[int, ...]
    n_tokens: int
    """Inputs of all of them."""

    def cost(self, depth: int = 0) -> int:
        """Tokens that are run for them: their own prefix and the rest, or what stands behind another's prefix."""
        if depth:
            return self.n_tokens - len(self.texts) * depth
        return self.depth + self.cost(self.depth)


def stems(texts: Sequence[ScoredText]) -> list[Stem]:
    """All texts behind the prefixes they share, short prefixes first; the same for the same texts."""
    order = sorted(range(len(texts)), key=lambda place: (texts[place].inputs, texts[place].tokens, place))
    found = [_stem(texts, part.texts, length=part.depth) for part in _parts(texts, order)]
    return sorted(found, key=lambda stem: (len(stem.prefix), stem.prefix, stem.members))


def _parts(texts: Sequence[ScoredText], order: Sequence[int]) -> list[_Part]:
    """Texts in alphabetical order, divided such that few tokens are run.

    The tree of common beginnings is walked from its leaves: a node is closed when the next text parts from it.
    """
    waiting: list[tuple[int, list[_Part]]] = []
    done: list[_Part] = []
    for place, text in enumerate(order):
        inputs = texts[text].inputs
        shared = _common_length(inputs, texts[order[place + 1]].inputs) if place + 1 < len(order) else 0
        done = [_Part(len(inputs), (text,), len(inputs))]
        while waiting and waiting[-1][0] > shared:
            depth, parts = waiting.pop()
            done = _closed(depth, [*parts, *done])
        if not waiting or waiting[-1][0] < shared:
            waiting.append((shared, []))
        waiting[-1][1].extend(done)
    return waiting[0][1] if waiting else []


def _closed(depth: int, parts: list[_Part]) -> list[_Part]:
    """Put behind the prefix of a node whatever costs less there, if that pays for the prefix."""
    joined = [part for part in parts if part.cost(depth) < part.cost()]
    if sum(part.cost() - part.cost(depth) for part in joined) <= depth:
        return parts
    together = tuple(text for part in joined for text in part.texts)
    alone = [part for part in parts if part.cost(depth) >= part.cost()]
    return [_Part(depth, together, sum(part.n_tokens for part in joined)), *alone]


def _common_length(one: Tokens, other: Tokens) -> int:
    bound = min(len(one), len(other))
    if one[:bound] == other[:bound]:
        return bound
    return next(place for place in range(bound) if one[place] != other[place])


def _stem(texts: Sequence[ScoredText], members: Sequence[int], *, length: int) -> Stem:
    """The members with the longest rest first, so that a stem that is divided has parts of little padding."""
    ordered = sorted(members, key=lambda text: (-len(texts[text].inputs), text))
    rest = tuple(len(texts[text].inputs) - length for text in ordered)
    return Stem(texts[ordered[0]].inputs[:length], tuple(ordered), rest)
