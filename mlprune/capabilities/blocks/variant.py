"""Variants without whole blocks as plain values."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from mlprune.json_values import JsonObject
from mlprune.numeric.selection.levels import n_removed
from mlprune.pruning.spec import Scope, ScoreSpec
from mlprune.steps.variants.base_variant import SeedSource, SetLink
from mlprune.steps.variants.variant import CapabilityVariant


@dataclass(frozen=True)
class BlocksVariant(CapabilityVariant):
    """A base model without some of its blocks. It has no masks: hidden states pass the removed blocks unchanged."""

    share: float
    """Share of the blocks of the scope; for score given, of the model."""
    score: ScoreSpec
    scope: Scope
    """The blocks of which some are removed; all of them for score given."""
    set_id: str | None = None
    """The demonstration set that the score reads, if it reads one."""
    structure: ClassVar[str] = "blocks"
    lacks_blocks: ClassVar[bool] = True

    @property
    def sparsity(self) -> float:
        """The share of the blocks. The catalog has the share of their weights, too."""
        return self.share

    @property
    def candidates(self) -> tuple[int, ...]:
        """The blocks of the scope, ascending."""
        return self.scope.blocks or tuple(range(self.model.n_blocks))

    @property
    def n_removed(self) -> int:
        """Number of blocks that it lacks; a share of the scope is rounded down."""
        n_blocks = len(self.candidates)
        return n_blocks if self.score.method.removes_scope else n_removed(self.share, n_blocks)

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
