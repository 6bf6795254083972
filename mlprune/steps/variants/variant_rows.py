"""Records of variants: their rows in the catalog, and their masks and changes in the store."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlprune.errors import BadInputError, DamagedArtefactError, StoreError, unknown
from mlprune.json_values import JsonObject, Row, as_int, as_str
from mlprune.models.masks.block_changes import BlockChanges
from mlprune.models.masks.masking import RemovedBlock
from mlprune.pruning.mask_files import Levels, StoredChanges, fingerprint
from mlprune.steps.job import Identity, RecordKey, make_identity
from mlprune.steps.variants.variant import ALL_TOKENS, UNQUANTISED, VariantSpec, quantisation_in, variant_row
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store

DESCRIPTION = ("layer", "shape", "n_removed", "keep_sha256", "n_silent_features", "n_dampings")
"""Columns of a mask file that describe the masks."""
_LEVELS: dict[tuple[str, str], Mapping[str, int]] = {}
"""(store, ordering) -> variant -> level, of the orderings that this process has read. A record never changes."""


def write_variants(
    store: Store,
    ordering: Identity,
    blocks: Sequence[Record],
    variants: Sequence[VariantSpec],
    *,
    columns: JsonObject | None = None,
    rows: Mapping[str, Sequence[Row]] | None = None,
) -> None:
    """Write the records of an ordering and of its variants, from the records of its blocks.

    The record of a variant does not depend on the ordering: two recipes whose orderings contain the same variant write
    the same bytes, in whatever order they run.

    Args:
        columns: further columns of the variants.
        rows: further tables of the variants.
    """
    artefacts = tuple(artefact for record in blocks for artefact in record.artefacts)
    tables = [store.read_table(mask_artefacts(record)[0], columns=DESCRIPTION) for record in blocks]
    row: Row = {
        "ordering_id": ordering.id,
        "base_model_id": variants[0].model.base_model_id,
        "score": variant_row(variants[0], achieved=0.0)["score"],
        "n_levels": len(variants),
        "n_bytes": sum(artefact.n_bytes for record in blocks for artefact in mask_artefacts(record)),
    }
    links: list[Row] = [
        {"ordering_id": ordering.id, "variant_id": variant.id, "level": level} for level, variant in enumerate(variants)
    ]
    store.write_record(ordering.record(artefacts=artefacts, rows={"orderings": [row], "ordering_variants": links}))
    for level, variant in enumerate(variants):
        of_variant = masked_variant_rows(variant, tables, level=level)
        of_variant["variants"][0] |= columns or {}
        store.write_record(variant.identity.record(rows={**of_variant, **(rows or {})}))


def masked_variant_rows(
    variant: VariantSpec, tables: Sequence[Mapping[str, list[Any]]], *, level: int
) -> dict[str, list[Row]]:
    """Return table -> rows of one variant with masks.

    Args:
        tables: per block, the columns `DESCRIPTION` of a mask file.
        level: index of the variant's sparsity in them.
    """
    layers = [row for block, table in enumerate(tables) for row in _layer_rows(variant, block, table, level)]
    n_weights = sum(int(shape[0]) * int(shape[1]) for table in tables for shape in table["shape"])
    n_removed = sum(int(counts[level]) for table in tables for counts in table["n_removed"])
    keeps = [
        (block, layer, hashes[level])
        for block, table in enumerate(tables)
        for layer, hashes in zip(table["layer"], table["keep_sha256"], strict=True)
    ]
    row = variant_row(variant, achieved=n_removed / n_weights) | {"mask_sha256": fingerprint(keeps)}
    rows: dict[str, list[Row]] = {
        "variants": [row],
        "variant_layers": layers,
        "variant_demonstrations": [
            {"variant_id": variant.id, "demonstration_set_id": set_id, "role": role, "weight": weight}
            for set_id, role, weight in variant.set_links()
        ],
        "variant_parents": [
            {"variant_id": variant.id, "parent_variant_id": parent, "role": role}
            for parent, role in variant.parent_links
        ],
    }
    return {table: values for table, values in rows.items() if values}


def _layer_rows(variant: VariantSpec, block: int, table: Mapping[str, list[Any]], level: int) -> list[Row]:
    """Return the number of removed weights of a variant in each layer of a block."""
    columns = (table["layer"], table["shape"], table["n_removed"], table["n_silent_features"], table["n_dampings"])
    return [
        {
            "variant_id": variant.id,
            "block": block,
            "layer": layer,
            "n_weights": int(shape[0]) * int(shape[1]),
            "n_removed": int(n_removed[level]),
            "n_silent_features": int(n_silent),
            "n_dampings": None if n_dampings is None else int(n_dampings),
        }
        for layer, shape, n_removed, n_silent, n_dampings in zip(*columns, strict=True)
    ]


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

    @property
    def embeddings(self) -> Artefact | None:
        """The file of new embeddings; None if they are those of the base model."""
        return next(iter(artefacts_below(self.record, "embeddings/")), None)


def mask_artefacts(record: Record) -> tuple[Artefact, ...]:
    """Return the mask files of an ordering or block record, in the order of blocks."""
    return artefacts_below(record, "masks/")


def weight_artefacts(record: Record) -> tuple[Artefact, ...]:
    """Return the files of changed weights of an ordering or block record, in the order of blocks."""
    return artefacts_below(record, "weights/")


def artefacts_below(record: Record, folder: str) -> tuple[Artefact, ...]:
    """Return the artefacts of a record in one folder of the store, in their order."""
    return tuple(artefact for artefact in record.artefacts if artefact.path.startswith(folder))


def with_all_tokens(store: Store, variant: Record) -> Record:
    """Return the record of the variant with the same weights and all tokens; usually the variant itself."""
    return store.require("variants", variant.parent(ALL_TOKENS)) if ALL_TOKENS in variant.parents else variant


def has_fewer_tokens(variant: Record) -> bool:
    """Whether a variant lacks tokens of its base model."""
    return "vocabularies" in variant.rows


def stored_tokens(store: Store, variant: Record) -> list[int]:
    """Return the kept tokens of a variant with fewer tokens, ascending.

    Raises:
        DamagedArtefactError: their file is missing or damaged.
    """
    return [int(number) for number in store.read_table(variant.artefacts[0])["token_id"]]


def n_tokens_of_base(variant: Record) -> int:
    """Return the tokens of the embedding of the base model, from the record of a variant with fewer tokens."""
    return as_int(variant.rows["vocabularies"][0]["n_tokens"])


def stored_masks(store: Store, variant: Record) -> StoredMasks | None:
    """Find the masks of a variant; None for a variant without masks.

    Those of a quantised variant, or one with fewer tokens, are its parent's.

    Raises:
        DamagedArtefactError: no ordering or composition in the store contains the variant.
    """
    if variant.rows["variants"][0].get("mask_sha256") is None:
        return None
    for role in (ALL_TOKENS, UNQUANTISED):
        if role in variant.parents:
            return stored_masks(store, store.require("variants", variant.parent(role)))
    found = (*_orderings_of(store, variant.id), *_compositions_of(store, variant.id))
    candidates = sorted(found, key=lambda stored: stored.record.id)
    if not candidates:
        raise DamagedArtefactError("no ordering contains the masks of a variant", variant_id=variant.id)
    intact = candidates if len(candidates) == 1 else [one for one in candidates if store.is_complete(one.record)]
    return (intact or candidates)[0]


def has_variant(store: Store, variant_id: str) -> bool:
    """Whether the store has a variant with all files of its masks."""
    record = store.read_record("variants", variant_id)
    if record is None:
        return False
    try:
        stored = stored_masks(store, record)
    except DamagedArtefactError:
        return False
    return stored is None or store.is_complete(stored.record)


def orderings_of(store: Store, variant_ids: Iterable[str]) -> list[RecordKey]:
    """Return the (kind, id) of the orderings whose files contain the masks of variants, as far as they are stored."""
    made = (store.require("variants", variant_id) for variant_id in variant_ids if has_variant(store, variant_id))
    masks = [stored_masks(store, record) for record in made]
    return list(dict.fromkeys(("masks", stored.record.id) for stored in masks if stored is not None))


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


def variant_record(store: Store, variant_id: str) -> Record:
    """The record of a variant.

    Raises:
        StoreError: there is no such variant; the message has the nearest ids.
    """
    known = [record_id for _, record_id in store.record_names("variants")]
    if variant_id in known:
        return store.require("variants", variant_id)
    raise unknown("variant", variant_id, known, error=StoreError, n_nearest=3, store=store.uri)


def require_weights(variant: Record, message: str) -> None:
    """Refuse a variant with an intervention at run time, which weights cannot express.

    Args:
        message: what the caller cannot do with it.
    Raises:
        BadInputError: it has one.
    """
    if intervention := variant.rows["variants"][0]["intervention"]:
        next_step = "mlprune export writes a model folder with the smaller vocabulary"
        advice = {"next": next_step} if has_fewer_tokens(variant) else {}
        raise BadInputError(message, variant_id=variant.id, got=intervention, **advice)


def form_without_masks(variant: Record) -> str:
    """Return what a variant without masks is, for messages."""
    row = variant.rows["variants"][0]
    if row.get("removed_blocks"):
        return "removed blocks"
    return f"intervention {row['intervention']}" if row["intervention"] else "the dense model"


def removed_blocks(variant: Record) -> tuple[int, ...]:
    """Return the blocks that a variant lacks, ascending."""
    blocks = variant.rows["variants"][0].get("removed_blocks")
    return tuple(map(as_int, blocks)) if isinstance(blocks, list | tuple) else ()


@dataclass(frozen=True)
class WithoutBlocks(StoredChanges):
    """The changes of a variant without whole blocks."""

    removed: frozenset[int] = frozenset()

    def __call__(self, block: int) -> BlockChanges:
        """Return the changes of a block; see `StoredChanges`."""
        return RemovedBlock() if block in self.removed else super().__call__(block)

    def source(self, block: int) -> Hashable:
        """Return whether the block is removed, and what its changes are read from."""
        return block in self.removed, super().source(block)


def stored_changes(store: Store, variant_id: str) -> StoredChanges | None:
    """Return the masks, new values, quantisation and removed blocks of a variant; None for the dense model.

    Raises:
        DamagedArtefactError: no ordering or composition in the store contains the variant.
    """
    variant = with_all_tokens(store, store.require("variants", variant_id))
    stored, quantisation = stored_masks(store, variant), quantisation_in(variant)
    removed = frozenset(removed_blocks(variant))
    if stored is None and quantisation is None and not removed:
        return None
    files = (stored.masks, stored.weights, stored.biases) if stored else ((), (), ())
    masks, weights, biases = (dict(enumerate(artefacts)) for artefacts in files)
    levels = dict(enumerate(stored.levels)) if stored else {}
    if removed:
        return WithoutBlocks(store.uri, masks, levels, weights, biases=biases, removed=removed)
    embeddings = stored.embeddings if stored else None
    return StoredChanges(
        store.uri, masks, levels, weights, biases=biases, quantisation=quantisation, embeddings_file=embeddings
    )
