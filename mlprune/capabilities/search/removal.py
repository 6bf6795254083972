"""Units of a model that a search removes one by one: which there are, and the entry of a variant without some."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mlprune.recipe.trials import Keys, checked_trial
from mlprune.strict_model import unknown_name
from mlprune.vocabulary import UnitName

REMOVAL_LEVELS = (0.0, 1.0)
"""Levels of a unit: it stays, or is removed."""
BASE_KEYS = ("structure", "scope")
"""Keys of the base of a search that removes units: their structure, and the blocks among which they are."""


@dataclass(frozen=True)
class Removable:
    """A kind of units."""

    per: UnitName
    """The part of the model that is one unit."""
    without: Callable[[Iterable[str]], dict[str, object]]
    """Returns the keys of an entry that lacks some units, from their names in the order of the model."""
    are_blocks: bool = False
    """Whether they are whole blocks, so that one run evaluates a round; see `EvaluateWithoutBlocksJob`."""


def _without_blocks(names: Iterable[str]) -> dict[str, object]:
    return {"score": "given", "scope": {"blocks": [int(name) for name in names]}}


REMOVABLE: Mapping[str, Removable] = {"blocks": Removable("block", _without_blocks, are_blocks=True)}
"""Structure -> the units that are removed."""


def check_removal(base: Keys, *, sets_nothing_else: bool) -> None:
    """Check the base of a search that removes units.

    Args:
        sets_nothing_else: whether the search has neither space nor levels.
    Raises:
        ValueError: it has other keys, or no structure.
        PydanticCustomError: the structure has no such units.
    """
    if not sets_nothing_else or set(base) - set(BASE_KEYS) or "structure" not in base:
        example = "base: {structure: blocks, scope: {blocks: 2-9}}"
        raise ValueError(f"method one_by_one needs a base of structure and, if wanted, scope alone, such as {example}")
    structure = str(base["structure"])
    if structure not in REMOVABLE:
        raise unknown_name("structure of removed units", structure, tuple(REMOVABLE), key="base.structure")
    checked_trial({**base, "score": "random", "sparsity": 0.5}, {})
