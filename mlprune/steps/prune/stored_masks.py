"""Masks of a variant in the store: the orderings that contain it or that it is composed from, and their files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlprune.errors import DamagedArtefactError, StoreError
from mlprune.json_values import as_int, as_str
from mlprune.pruning.mask_files import Levels
from mlprune.steps.job import Identity, make_identity
from mlprune.steps.quantise.rows import UNQUANTISED
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store

_LEVELS: dict[tuple[str, str], Mapping[str, int]] = {}
"""(store, ordering) -> variant -> level, of the orderings that this process has read. A record never changes."""


@dataclass(frozen=True)
class StoredMasks:
    """The masks of a variant in the store."""

    record: Record
    """The record of the ordering whose files contain them."""
    levels: tuple[Levels, ...]
    """Per block: index of a sparsity of the ordering, for the whole block or by layer."""
    composition: Record | None = None
    """The record of the composition; None if the ordering itself contains the variant."""

    @property
    def masks(self) -> tuple[Artefact, ...]:
        """The mask files, in the order of blocks."""
        return mask_artefacts(self.record)

    @property
    def files(self) -> tuple[tuple[Artefact, Levels], ...]:
        """The mask file of each block, with the variant's levels in it."""
        return tuple(zip(self.masks, self.levels, strict=True))

    @property
    def weights(self) -> tuple[Artefact, ...]:
        """The files of changed weights, in the order of blocks; empty if no weight changed."""
        return weight_artefacts(self.record)

    @property
    def biases(self) -> tuple[Artefact, ...]:
        """The files of changed biases, in the order of blocks; empty if no bias changed."""
        return artefacts_below(self.record, "biases/")


def mask_artefacts(record: Record) -> tuple[Artefact, ...]:
    """Return the mask files of an ordering or block record, in the order of blocks."""
    return artefacts_below(record, "masks/")


def weight_artefacts(record: Record) -> tuple[Artefact, ...]:
    """Return the files of changed weights of an ordering or block record, in the order of blocks."""
    return artefacts_below(record, "weights/")


def artefacts_below(record: Record, folder: str) -> tuple[Artefact, ...]:
    """Return the artefacts of a record in one folder of the store, in their order."""
    return tuple(artefact for artefact in record.artefacts if artefact.path.startswith(folder))


def stored_masks(store: Store, variant: Record) -> StoredMasks | None:
    """Find the masks of a variant; None for a variant without masks. Those of a quantised variant are its parent's.

    Raises:
        DamagedArtefactError: no ordering or composition in the store contains the variant.
    """
    if variant.rows["variants"][0].get("mask_sha256") is None:
        return None
    if UNQUANTISED in variant.parents:
        return stored_masks(store, store.require("variants", variant.parent(UNQUANTISED)))
    found = (*_orderings_of(store, variant.id), *_compositions_of(store, variant.id))
    candidates = sorted(found, key=lambda stored: stored.record.id)
    if not candidates:
        raise DamagedArtefactError("no ordering contains the masks of a variant", variant_id=variant.id)
    intact = candidates if len(candidates) == 1 else [one for one in candidates if store.is_complete(one.record)]
    return (intact or candidates)[0]


def require_masks(store: Store, variant_id: str) -> StoredMasks:
    """Find the masks of a variant that has some.

    Raises:
        StoreError: the variant has no masks.
        DamagedArtefactError: no ordering in the store contains the variant.
    """
    stored = stored_masks(store, store.require("variants", variant_id))
    if stored is None:
        raise StoreError("a variant has no masks", variant_id=variant_id, store=store.uri)
    return stored


def _orderings_of(store: Store, variant_id: str) -> Iterator[StoredMasks]:
    """Yield the orderings that contain a variant. The variants of an ordering are read once per process."""
    for _, ordering_id in store.record_names("masks"):
        key = (store.uri, ordering_id)
        record = None
        if key not in _LEVELS:
            record = store.read_record("masks", ordering_id)
            if record is None:
                continue
            _LEVELS[key] = {as_str(row["variant_id"]): as_int(row["level"]) for row in record.rows["ordering_variants"]}
        level = _LEVELS[key].get(variant_id)
        if level is not None:
            record = record or store.read_record("masks", ordering_id)
            if record is not None:
                yield StoredMasks(record, (level,) * len(mask_artefacts(record)))


def composition_identity(variant_id: str, ordering_id: str) -> Identity:
    """Return the identity of the composition of a variant from an ordering."""
    return make_identity("mask_compositions", parents={"variant": variant_id, "ordering": ordering_id})


def _compositions_of(store: Store, variant_id: str) -> Iterator[StoredMasks]:
    """Yield the compositions of a variant whose ordering is in the store."""
    present = {record_id for _, record_id in store.record_names("mask_compositions")}
    for _, ordering_id in store.record_names("masks") if present else ():
        identity = composition_identity(variant_id, ordering_id)
        if identity.id in present:
            composition, ordering = store.read_record(*identity.key), store.read_record("masks", ordering_id)
            if composition is not None and ordering is not None:
                yield StoredMasks(ordering, composed_levels(composition, ordering), composition)


def composed_levels(composition: Record, ordering: Record) -> tuple[Mapping[str, int], ...]:
    """Return, per block, layer -> level of a composition; layers that are not pruned have none."""
    levels: tuple[dict[str, int], ...] = tuple({} for _ in mask_artefacts(ordering))
    for row in composition.rows.get("composed_layers", ()):
        levels[as_int(row["block"])][as_str(row["layer"])] = as_int(row["level"])
    return levels
