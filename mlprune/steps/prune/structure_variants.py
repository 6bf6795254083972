"""Variants of structures that a capability adds."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pkgutil import resolve_name
from typing import Any, Generic

from mlprune.json_values import JsonObject
from mlprune.pruning.scoring import BlockLevels
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Identity, Job, ModelRef
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.scored_variant import ScoredVariant
from mlprune.steps.variants.variant import AnyVariant, CapabilityVariant
from mlprune.store.record_kinds import VARIANTS_OF_STRUCTURES
from mlprune.store.records import Record
from mlprune.store.store import Store


class StructureVariants(ABC, Generic[AnyVariant]):
    """How a capability plans and makes variants of its structures, and makes their masks again."""

    def planned(self, variant: ScoredVariant) -> ScoredVariant | CapabilityVariant:
        """Return the variant of an entry whose score has a structure of the capability.

        Args:
            variant: as a structure of weights would have it.
        Raises:
            RecipeError: the model cannot have such a variant.
        """
        return variant

    @abstractmethod
    def jobs(self, recipe: Recipe, inputs: Inputs, *, planned: PlannedVariant, variant: AnyVariant) -> Iterator[Job]:
        """Yield what the variant is made from, then the job that makes it."""

    def rebuilder(
        self, store: Store, identity: Identity, model: ModelRef, *, ordering: Record
    ) -> Callable[[int], BlockLevels]:
        """Return a function that makes the levels of a block of a variant again, from what is stored.

        Args:
            identity: of the variant.
            ordering: record of its masks.
        """
        raise AssertionError("only variants with masks have levels")

    def largest_step(self, variant: Record, layers: Sequence[JsonObject]) -> float:
        """Return a bound on the number of weights that are removed together.

        Args:
            layers: rows of the layers that are pruned.
        """
        return float("inf")


def variants_of_structure(name: object, plugin: object = None) -> StructureVariants[Any] | None:
    """Return how the variants of a structure are made; None for those of the core and of plug-ins.

    Args:
        plugin: source of a structure that is a plug-in.
    """
    path = None if plugin else VARIANTS_OF_STRUCTURES.get(str(name))
    made: StructureVariants[Any] | None = resolve_name(path)() if path else None
    return made
