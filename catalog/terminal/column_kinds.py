"""Kinds of result columns: they decide how a value is written. A kind follows from the values and from the name."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum, auto

from catalog.results import Value


class Kind(Enum):
    """How the values of a column are written."""

    TEXT = auto()
    YES_NO = auto()
    ID = auto()
    """Id of a record, which has 20 hex digits; its beginning can be given to commands."""
    DIGEST = auto()
    """SHA-256 of a file, or a commit."""
    COUNT = auto()
    NUMBER = auto()
    DIFFERENCE = auto()
    """A number with a sign."""
    SETTING = auto()
    """A number that a recipe states, such as a sparsity; it has no more decimals than needed."""
    P_VALUE = auto()

    @property
    def is_number(self) -> bool:
        """Whether values are aligned at the decimal point."""
        return self in (Kind.COUNT, Kind.NUMBER, Kind.DIFFERENCE, Kind.SETTING, Kind.P_VALUE)


P_WORDS = frozenset({"p", "q"})
DIFFERENCE_WORDS = frozenset({"difference", "change", "gain", "gap", "bias", "optimism", "against", "more"})
UNSIGNED_WORDS = frozenset({"detectable", "critical", "smallest", "standard", "deviation", "error"})
SETTING_WORDS = frozenset({"sparsity", "share", "alpha", "level", "margin", "weight", "budget"})
DECIMALS_OF_UNITS: Mapping[str, int] = {"s": 1, "gib": 2}
"""Last word of a name -> decimals of values in this unit."""

_ID = re.compile(r"[0-9a-f]{20}")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def kind_of(name: str, values: Sequence[Value]) -> Kind:
    """Return the kind of a column, from its name and those of its values that are not NULL."""
    known = [value for value in values if value is not None]
    if not known:
        return Kind.TEXT
    if all(isinstance(value, bool) for value in known):
        return Kind.YES_NO
    if all(isinstance(value, int) and not isinstance(value, bool) for value in known):
        return Kind.COUNT
    if all(isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in known):
        return _kind_of_numbers(name)
    if all(isinstance(value, str) for value in known):
        return _kind_of_texts(known)
    return Kind.TEXT


def _kind_of_numbers(name: str) -> Kind:
    words = name.lower().split("_")
    if P_WORDS.intersection(words):
        return Kind.P_VALUE
    if DIFFERENCE_WORDS.intersection(words) and not UNSIGNED_WORDS.intersection(words):
        return Kind.DIFFERENCE
    return Kind.SETTING if words[-1] in SETTING_WORDS else Kind.NUMBER


def _kind_of_texts(texts: Sequence[str]) -> Kind:
    if all(_ID.fullmatch(text) for text in texts):
        return Kind.ID
    return Kind.DIGEST if all(_DIGEST.fullmatch(text) for text in texts) else Kind.TEXT
