"""Variants without whole blocks as plain values."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mlprune.errors import RecipeError
from mlprune.json_values import JsonObject, JsonValue
from mlprune.numeric.selection.levels import n_removed
from mlprune.pruning.spec import Scope, ScoreSpec
from mlprune.steps.job import Identity, ModelRef, make_identity
from mlprune.steps.variants.base_variant import BaseVariant, SeedSource, SetLink
from mlprune.vocabulary import PropagationName


@dataclass(frozen=True)
class BlocksVariant(BaseVariant):
    """A base model without some of its blocks. It has no masks: hidden states pass the removed blocks unchanged."""

    sparsity: float
    """Share of the blocks of the scope; for score given, of the model."""
    score: ScoreSpec
    scope: Scope
    """The blocks of which some are removed; all of them for score given."""
    set_id: str | None = None
    """The demonstration set that the score reads, if it reads one."""
    structure: ClassVar[str] = "blocks"
    propagation: ClassVar[PropagationName | None] = None
    weights_changed: ClassVar[bool] = False

    @property
    def candidates(self) -> tuple[int, ...]:
        """The blocks of the scope, ascending."""
        return self.scope.blocks or tuple(range(self.model.n_blocks))

    @property
    def n_removed(self) -> int:
        """Number of blocks that it lacks; a share of the scope is rounded down."""
        n_blocks = len(self.candidates)
        return n_blocks if self.score.score == "given" else n_removed(self.sparsity, n_blocks)

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
        return self.score.with_seed(0) if is_seeded else self.score, sets, (self.sparsity, self.scope)

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the score, its seed and set, and the scope."""
        return {
            "demonstration_set_id": self.set_id,
            "score": self.score.score,
            "structure": self.structure,
            "seed": self.score.seed,
            "scope": self.scope.parameters or None,
        }


def blocks_variant(
    base: Identity,
    model: ModelRef,
    choice: tuple[ScoreSpec, Scope, float | None],
    set_ids: Sequence[str],
    computed: JsonObject,
) -> BlocksVariant:
    """Return a variant of a base model that lacks blocks.

    Args:
        choice: the score, the scope and the share of its blocks; None for score given.
        set_ids: the set that the score reads, or nothing.
        computed: parameters of what the score reads; see `computed_parameters`.
    Raises:
        RecipeError: it would lack no block, or all.
    """
    score, scope, share = choice
    sparsity = (len(scope.blocks) or model.n_blocks) / model.n_blocks if share is None else share
    parameters: dict[str, JsonValue] = {**score.parameters, "sparsity": sparsity, **computed}
    parameters |= {"scope": scope.parameters} if scope.parameters else {}
    parents: JsonObject = {"base_model": base.id, "demonstration_sets": list[JsonValue](set_ids) or None}
    variant = BlocksVariant(
        make_identity("variants", parameters, parents=parents), model, sparsity, score, scope, *set_ids
    )
    if not 0 < variant.n_removed < model.n_blocks:
        expected = f"1 to {model.n_blocks - 1} of the {model.n_blocks} blocks"
        raise RecipeError("structure blocks would remove no block, or all", expected=expected, got=variant.n_removed)
    return variant
