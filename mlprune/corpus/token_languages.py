"""Languages of the tokens of a demonstration set.

The language of a token is that of its side of the demonstration: the source or the target language of the set, or of
the part of a mixed set from which the demonstration comes. The label of a side and the end-of-sequence token after it
belong to the side. A side without a language has the kind of the set as its name, for instance `code`. All other tokens
have the name `OTHER`: special tokens, templates outside the sides, and the padding that profile `paper` counts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mlprune.corpus.demonstrations import NO_SHOT, NO_SIDE, SIDES
from mlprune.json_values import as_float, as_int, as_str
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope

OTHER = "other"
"""Side and language of tokens that belong to no side."""
COLUMNS = ("sides", "shots")
"""Columns of a set's file that `side_tokens` reads."""


class Group(NamedTuple):
    """Tokens of a set that are counted together."""

    side: str
    """source, target or other."""
    language: str


class SideTokens(NamedTuple):
    """Tokens of one side of a demonstration."""

    demonstration: int
    group: Group
    n_tokens: int
    n_last_shot: int
    """Those of the last shot."""


@dataclass(frozen=True)
class SetLanguages:
    """The sides and languages of a set, and of each of its demonstrations."""

    groups: tuple[Group, ...]
    """The tokens of no side, then distinct sides and languages in the order of the set."""
    of_sides: Sequence[tuple[int, int, int]]
    """Of each demonstration: places in `groups` of what its tokens have, by the number of their side."""

    @classmethod
    def of(cls, store: Store, record: Record) -> "SetLanguages":
        """Return the languages of a set.

        Raises:
            StoreError: the store lacks a part of a mixed set.
        """
        pairs = _languages(store, record)
        of_sides = [
            Group(side, language) for pair in dict.fromkeys(pairs) for side, language in zip(SIDES, pair, strict=True)
        ]
        groups = tuple(dict.fromkeys((Group(OTHER, OTHER), *of_sides)))
        places = dict(zip(groups, range(len(groups)), strict=True))
        return cls(groups, [(0, places[Group("source", one)], places[Group("target", two)]) for one, two in pairs])

    def of_tokens(self, demonstration: int, sides: Sequence[int]) -> Sequence[int]:
        """Return the place in `groups` of every token of a demonstration."""
        places = self.of_sides[demonstration]
        return [places[side] for side in sides]


def is_in(group: Group, scope: TokenScope) -> bool:
    """Whether a scope other than `last_shot` counts the tokens of a group."""
    return scope in ("all", group.side) or (scope == "content" and group.side != OTHER)


def side_tokens(store: Store, record: Record, columns: Mapping[str, Sequence[Any]]) -> Iterator[SideTokens]:
    """Yield the tokens of every side of every demonstration of a set, without empty sides.

    Args:
        columns: `COLUMNS` of the set's file.
    Raises:
        StoreError: the store lacks a part of a mixed set.
    """
    languages = SetLanguages.of(store, record)
    rows = zip(columns["sides"], columns["shots"], languages.of_sides, strict=True)
    for demonstration, (sides, shots, places) in enumerate(rows):
        of_side, of_shot = np.asarray(sides), np.asarray(shots)
        is_last = (of_shot == of_shot.max()) & (of_shot != NO_SHOT)
        for number in (NO_SIDE, *SIDES.values()):
            has_side = of_side == number
            if n_tokens := int(has_side.sum()):
                group = languages.groups[places[number]]
                yield SideTokens(demonstration, group, n_tokens, int((has_side & is_last).sum()))


def counted_by_language(
    sides: Iterable[SideTokens], scope: TokenScope, *, n_demonstrations: int | None = None
) -> dict[str, int]:
    """Return language -> counted tokens of a scope in the first demonstrations of a set; None: in all of them."""
    counts: dict[str, int] = {}
    for one in sides:
        if n_demonstrations is not None and one.demonstration >= n_demonstrations:
            continue
        n_tokens = one.n_last_shot if scope == "last_shot" else one.n_tokens if is_in(one.group, scope) else 0
        if n_tokens:
            counts[one.group.language] = counts.get(one.group.language, 0) + n_tokens
    return counts


def _languages(store: Store, record: Record) -> list[tuple[str, str]]:
    """Return the languages of the source and the target of each demonstration."""
    (row,) = record.rows["demonstration_sets"]
    n_demonstrations = as_int(row["samples"])
    parts = record.rows.get("demonstration_set_parts", ())
    if not parts:
        kind = as_str(row["kind"])
        source, target = (as_str(row[f"{side}_language"] or kind) for side in SIDES)
        return [(source, source if row["target_language"] is None else target)] * n_demonstrations
    languages = []
    for part in parts:
        of_part = _languages(store, store.require("demonstration_sets", as_str(part["part_id"])))
        languages += of_part[: round(as_float(part["share"]) * n_demonstrations)]
    return languages
