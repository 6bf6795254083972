"""Variants without whole blocks or sub-layers as plain values."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from mlprune.json_values import JsonObject
from mlprune.numeric.selection.levels import n_removed
from mlprune.pruning.spec import Scope, ScoreSpec
from mlprune.steps.variants.base_variant import SeedSource, SetLink
from mlprune.steps.variants.variant import CapabilityVariant

Unit = int | str
"""A block, or a sub-layer as `3.attention`."""


@dataclass(frozen=True)
class DepthVariant(CapabilityVariant, ABC):
    """A base model without some of its blocks or sub-layers."""

    share: float
    """Share of the units of the scope; for score given, of the model."""
    score: ScoreSpec
    scope: Scope
    """The units of which some are removed; all of them for score given."""
    set_id: str | None = None
    """The demonstration set that the score reads, if it reads one."""

    @property
    @abstractmethod
    def structure(self) -> str:
        """The comparison group."""

    @property
    @abstractmethod
    def candidates(self) -> tuple[Unit, ...]:
        """The units of the scope, in the order of the model."""

    @property
    def sparsity(self) -> float:
        """The share of the units. The catalog has the share of their weights, too."""
        return self.share

    @property
    def n_removed(self) -> int:
        """Number of units that it lacks; a share of the scope is rounded down."""
        n_units = len(self.candidates)
        return n_units if self.score.method.removes_scope else n_removed(self.share, n_units)

    def set_links(self) -> Iterator[SetLink]:
        """Yield the set that its score reads."""
        if self.set_id is not None:
            yield self.set_id, "demonstrations", 1.0

    def own_seed(self, source: SeedSource) -> int | None:
        """Return the seed of its score."""
        return self.score.seed if source == "score" else None

    def without_seed(
        self, source: SeedSource, *, sets: tuple[Hashable, ...], parents: tuple[Hashable, ...]
    ) -> Hashable:
        """Return its score, sets and settings except the seed of a source."""
        is_seeded = source == "score" and self.score.seed is not None
        return self.score.with_seed(0) if is_seeded else self.score, sets, (self.share, self.scope)

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the score, its seed and set, and the scope."""
        return {
            "demonstration_set_id": self.set_id,
            "score": self.score.score,
            "structure": self.structure,
            "seed": self.score.seed,
            "scope": self.scope.parameters or None,
        }


@dataclass(frozen=True)
class BlocksVariant(DepthVariant):
    """A base model without some of its blocks. It has no masks: hidden states pass the removed blocks unchanged."""

    structure: ClassVar[str] = "blocks"
    lacks_blocks: ClassVar[bool] = True

    @property
    def candidates(self) -> tuple[int, ...]:
        """The blocks of the scope, ascending."""
        return self.scope.blocks or tuple(range(self.model.n_blocks))


@dataclass(frozen=True)
class SublayersVariant(DepthVariant):
    """A base model without some of its sub-layers: their masks keep no weight, and biases of their outputs are 0."""

    candidates: tuple[str, ...] = ()
    """The sub-layers of the scope, in the order of the model."""
    zeroes_biases: bool = False
    """Whether a layer that gives the outputs of a sub-layer of the scope has a bias, which becomes 0."""
    structure: ClassVar[str] = "sublayers"

    @property
    def has_new_values(self) -> bool:
        """Whether biases become 0."""
        return self.zeroes_biases
