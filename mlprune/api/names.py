"""Names of variants and demonstration sets: ids, labels, names in recipes, and unique beginnings of these."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from mlprune.errors import StoreError, unknown

Kind: TypeAlias = Literal["variant", "demonstration_set"]
MAX_LISTED = 10
"""Names that an error lists."""
MIN_BEGINNING = 4
"""Fewest characters that stand for a longer name."""


class StoredName(NamedTuple):
    """A name of a variant or set: labels first, then names in recipes, then ids."""

    name: str
    id: str


Lookup: TypeAlias = Callable[[Kind, str], Sequence[StoredName]]
"""Returns the names of a kind that begin with a text."""


def found_ids(kind: Kind, name: str, lookup: Lookup) -> list[str]:
    """Return the ids with a name, each once. If nothing has exactly this name, it may be the beginning of one.

    Raises:
        StoreError: nothing is named so, or several names begin so.
    """
    stored = lookup(kind, name)
    exact = [one.id for one in stored if one.name == name]
    if exact:
        return list(dict.fromkeys(exact))
    ids = list(dict.fromkeys(one.id for one in stored))
    if len(ids) == 1 and len(name) >= MIN_BEGINNING:
        return ids
    if ids and name:
        names = list(dict.fromkeys(one.name for one in stored))
        more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
        expected = f"one of {', '.join(names[:MAX_LISTED])}{more}"
        raise StoreError(f"several names of {words_of(kind)}s begin with this", got=name, expected=expected)
    known = list(dict.fromkeys(one.name for one in lookup(kind, "")))
    raise unknown(words_of(kind), name, known, error=StoreError, n_nearest=3)


def words_of(kind: Kind) -> str:
    """Return the name of a kind in messages, in the singular."""
    return kind.replace("_", " ")
