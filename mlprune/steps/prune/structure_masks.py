"""Masks of structures that a capability adds."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pkgutil import resolve_name

from mlprune.pruning.scoring import BlockLevels
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Job, ModelRef
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.scored_variant import ScoredVariant
from mlprune.store.record_kinds import MASKS_OF_STRUCTURES
from mlprune.store.records import Record
from mlprune.store.store import Store


class StructureMasks(ABC):
    """How a capability makes the masks of variants of its structures."""

    @abstractmethod
    def check(self, model: ModelRef, structure: str, *, sparsity: float) -> None:
        """Check that a model can have variants of a structure.

        Raises:
            RecipeError: it cannot.
        """

    @abstractmethod
    def jobs(self, recipe: Recipe, inputs: Inputs, *, planned: PlannedVariant, variant: ScoredVariant) -> Iterator[Job]:
        """Yield what the masks of a variant are made from, then the job that makes the variant."""

    @abstractmethod
    def rebuilder(self, store: Store, variant: ScoredVariant, *, ordering: Record) -> Callable[[int], BlockLevels]:
        """Return a function that makes the levels of a block again, from what is stored.

        Args:
            ordering: record of the masks.
        """


def masks_of_structure(name: str) -> StructureMasks | None:
    """Return how the masks of a structure are made; None for the structures of the core."""
    path = MASKS_OF_STRUCTURES.get(name)
    made: StructureMasks | None = resolve_name(path)() if path else None
    return made
