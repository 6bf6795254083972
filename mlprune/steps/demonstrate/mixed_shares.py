"""Numeric shares of the parts of a mixed set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlprune.corpus.part_sizes import exact_shares
from mlprune.errors import CorpusError
from mlprune.json_values import JsonValue


@dataclass(frozen=True)
class Part:
    """A part of a mixed set, as shares name it."""

    id: str
    label: str
    names: tuple[str, ...]
    """Its languages, such as `fr` or `fr-en`, and the name of its entry."""


def numeric_shares(given: Mapping[str, float], parts: Sequence[Part]) -> tuple[float, ...]:
    """Return the share of each distinct part.

    Raises:
        CorpusError: a part has no share or several, or a share belongs to no part or to several.
    """
    keys: dict[str, str] = {}
    for part in parts:
        names = [name for name in dict.fromkeys(part.names) if name in given]
        if len(names) != 1:
            got = ", ".join(names) or "none"
            raise CorpusError("a part of a mixed set needs one share", part=part.label, expected="one share", got=got)
        keys[part.id] = names[0]
    if sorted(keys.values()) != sorted(given):
        got = ", ".join(key for key in given if list(keys.values()).count(key) != 1)
        expected = f"one part per share: {', '.join(part.label for part in parts)}"
        raise CorpusError("a share of a mixed set belongs to no part, or to several", expected=expected, got=got)
    return tuple(given[key] for key in keys.values())


def shares_in_id(shares: str | Sequence[float]) -> JsonValue:
    """Return shares as parameters of an id: their unit does not matter."""
    return shares if isinstance(shares, str) else [str(share) for share in exact_shares(shares)]
