"""Compose a variant from the levels of a stored ordering (step `prune`): write its records, and no mask file."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from mlprune.errors import StoreError
from mlprune.json_values import JsonObject
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.masks.packed_masks import keep_all
from mlprune.pruning.scoring import mask_sha256
from mlprune.steps.job import ChainLoader, Identity, Job, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.steps.prune.composed.library import BlockLevels, composed_levels
from mlprune.steps.prune.stored_masks import mask_artefacts
from mlprune.steps.prune.variant import ScoredVariant
from mlprune.steps.prune.variant_rows import DESCRIPTION, masked_variant_rows
from mlprune.store.records import Artefact
from mlprune.store.store import Store

Description = Mapping[str, list[Any]]
"""Columns `DESCRIPTION` of a mask file."""
_CACHED_FILES = 4096
"""Mask files whose descriptions stay in memory, with a few kB each."""


@dataclass(frozen=True)
class ComposeVariantJob(Job):
    """Choose a level of a library for every layer of a variant.

    The record of the variant is the one that an ordering of its own would give, byte by byte.
    """

    step: ClassVar[str] = "prune"
    composition: Identity
    variant: ScoredVariant
    ordering_id: str
    """The library."""
    sparsities: tuple[float, ...]
    """Of the library, ascending."""

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The composition and the variant."""
        return (self.composition.key, self.variant.identity.key)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The library."""
        return (("masks", self.ordering_id),)

    @property
    def also_made_elsewhere(self) -> tuple[RecordKey, ...]:
        """The variant: an ordering of its own, or another library, makes the same record."""
        return (self.variant.identity.key,)

    @property
    def artefact_record(self) -> RecordKey | None:
        """The library, which has the masks."""
        return ("masks", self.ordering_id)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """That of a small job."""
        return JobCost(self.step)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the record of the composition, then that of the variant.

        Raises:
            StoreError: the library lacks a sparsity of the variant.
            DamagedArtefactError: a mask file of the library is missing or damaged.
        """
        levels = composed_levels(self.variant, self.sparsities)
        if levels is None:
            expected, got = "sparsities of the library", list(self.sparsities)
            raise StoreError("a variant cannot be composed", variant_id=self.variant.id, expected=expected, got=got)
        artefacts = mask_artefacts(store.require("masks", self.ordering_id))
        files = zip(artefacts, levels, strict=True)
        tables = [_chosen(_described(store.uri, artefact), of_block) for artefact, of_block in files]
        store.write_record(self.composition.record(rows=self._rows(levels)))
        store.write_record(self.variant.identity.record(rows=masked_variant_rows(self.variant, tables, level=0)))

    def _rows(self, levels: BlockLevels) -> dict[str, list[JsonObject]]:
        """Return table -> rows of the composition."""
        own: JsonObject = {"composition_id": self.composition.id}
        row: JsonObject = {**own, "variant_id": self.variant.id, "ordering_id": self.ordering_id}
        layers: list[JsonObject] = [
            {**own, "block": block, "layer": layer, "level": level}
            for block, of_block in enumerate(levels)
            for layer, level in of_block.items()
        ]
        return {"compositions": [row]} | ({"composed_layers": layers} if layers else {})


def _chosen(table: Description, levels: Mapping[str, int]) -> Description:
    """Return the description of a mask file with one level per layer, as the variant's own file would have it."""
    chosen: dict[str, list[Any]] = {**table, "n_removed": [], "keep_sha256": [], "n_silent_features": []}
    for index, (layer, shape) in enumerate(zip(table["layer"], table["shape"], strict=True)):
        level = levels.get(layer)
        is_pruned = level is not None
        chosen["n_removed"].append([table["n_removed"][index][level] if is_pruned else 0])
        kept = table["keep_sha256"][index][level] if is_pruned else _sha256_of_all(int(shape[0]), int(shape[1]))
        chosen["keep_sha256"].append([kept])
        chosen["n_silent_features"].append(table["n_silent_features"][index] if is_pruned else 0)
    return chosen


@lru_cache
def _sha256_of_all(n_rows: int, d: int) -> str:
    """Return the hash of the mask that keeps every weight of a layer."""
    return mask_sha256(keep_all((n_rows, d)))


@lru_cache(_CACHED_FILES)
def _described(store_uri: str, artefact: Artefact) -> Description:
    """Return the description of a mask file, which is read once per process."""
    return Store(store_uri).read_table(artefact, columns=DESCRIPTION)
