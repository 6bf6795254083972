"""Recovered variants as plain values."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from mlprune.capabilities.recovery.settings import Recovery
from mlprune.hashing import without_defaults
from mlprune.json_values import JsonObject
from mlprune.steps.variants.base_variant import SeedSource, SetLink
from mlprune.steps.variants.derived_blocks_job import VariantFromSets
from mlprune.steps.variants.variant import variant_row
from mlprune.steps.variants.variant_text import parameter_words


@dataclass(frozen=True)
class RecoveredVariant(VariantFromSets):
    """Another variant whose kept weights are optimised towards the distributions of the dense model."""

    settings: Recovery
    set_ids: tuple[str, ...]
    """The demonstration sets that it reads."""
    set_labels: tuple[str, ...]
    """Their labels; never part of an id."""

    @property
    def has_new_values(self) -> bool:
        """Return True: its masks are those of its parent, and cannot be combined instead of them."""
        return True

    @property
    def shares(self) -> tuple[float, ...]:
        """Weights of the sets, which sum to 1."""
        return self.settings.shares or (1 / len(self.set_ids),) * len(self.set_ids)

    def set_links(self) -> Iterator[SetLink]:
        """Yield the sets that the recovery reads."""
        yield from ((set_id, "recovery", share) for set_id, share in zip(self.set_ids, self.shares, strict=True))

    @property
    def new_columns(self) -> JsonObject:
        """The columns in which it differs from its parent."""
        tuned: JsonObject = {"steps": self.settings.steps, "learning_rate": self.settings.learning_rate}
        settings = {**tuned, **without_defaults(self.settings, omit=("shares",))}
        return {"variant_id": self.id, "weights_changed": True, "recovery": settings}

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the row of its parent, with the settings of the recovery."""
        return {**variant_row(self.parent, achieved=achieved), **self.new_columns}

    def own_label(self, parents: Sequence[str]) -> str:
        """Return the label of its parent, the sets that are read, and the settings."""
        settings = parameter_words(without_defaults(self.settings))
        return " ".join((*parents, "recovered on", " + ".join(self.set_labels), *settings))

    def without_seed(
        self, source: SeedSource, *, sets: tuple[Hashable, ...], parents: tuple[Hashable, ...]
    ) -> Hashable:
        """Return the settings, and what determines the sets and the parent."""
        return self.settings, sets, *parents
