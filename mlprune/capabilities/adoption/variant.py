"""Variants from pruned checkpoints that were made elsewhere, as plain values."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mlprune.capabilities.adoption.difference import CheckpointDifference
from mlprune.capabilities.adoption.records import ADOPTED
from mlprune.hashing import digest
from mlprune.json_values import JsonObject, JsonValue
from mlprune.steps.variants.base_variant import BaseVariant, SeedSource
from mlprune.steps.variants.variant import UNQUANTISED, CapabilityVariant, DenseVariant


@dataclass(frozen=True)
class AdoptedVariant(CapabilityVariant):
    """A base model with the masks, new values or removed blocks of a checkpoint."""

    folder: str
    """The checkpoint; never part of an id."""
    origin: tuple[tuple[str, JsonValue], ...]
    """Where the checkpoint comes from: `source` and, for a checkpoint of the hub, `commit`."""
    difference: CheckpointDifference
    dense: DenseVariant
    """The base model."""
    has_known_structure: ClassVar[bool] = False

    @property
    def sparsity(self) -> float:
        """The share of removed weights, rounded to two digits, so that 0.4998 is compared with 0.5."""
        return round(self.difference.sparsity, 2) or self.difference.sparsity

    @property
    def lacks_blocks(self) -> bool:
        """Whether the checkpoint lacks whole blocks."""
        return bool(self.difference.removed_blocks)

    @property
    def structure(self) -> str | None:
        """`blocks` if it lacks whole blocks; otherwise unknown."""
        return "blocks" if self.lacks_blocks else None

    @property
    def weights_changed(self) -> bool:
        """Whether weights that are not removed have new values."""
        return self.difference.weights_changed

    @property
    def has_new_values(self) -> bool:
        """Whether weights or biases have new values."""
        return self.difference.weights_changed or self.difference.biases_changed or bool(self.difference.embeddings)

    def own_label(self, parents: Sequence[str]) -> str:
        """Return its source and its sparsity, or the kinds of its codes."""
        what = self.difference.quantised.get("kinds") if self.difference.quantised else f"{self.sparsity:g}"
        return f"{ADOPTED} {dict(self.origin)['source']} {what}"

    @property
    def unquantised(self) -> BaseVariant:
        """The base model of a quantised checkpoint."""
        return self.dense if self.difference.quantised else self

    @property
    def parent_links(self) -> tuple[tuple[str, str], ...]:
        """The base model of a quantised checkpoint, with which costs are compared."""
        return ((self.dense.id, UNQUANTISED),) if self.difference.quantised else ()

    def without_seed(
        self, source: SeedSource, *, sets: tuple[Hashable, ...], parents: tuple[Hashable, ...]
    ) -> Hashable:
        """Return its id: a checkpoint has no seed."""
        return self.id

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return where it comes from, with a hash of its files."""
        kinds = {"kinds": self.difference.quantised["kinds"]} if self.difference.quantised else {}
        return {
            "score": ADOPTED,
            "score_parameters": {**dict(self.origin), "sha256": digest(dict(self.identity.contents))[:16], **kinds},
            "structure": self.structure,
        }
