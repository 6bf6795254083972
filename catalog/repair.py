"""Repair what the check of a store found: set damaged results aside, so that the next run makes them again.

Results are computed from a recipe, so a repair computes none. It moves the records concerned to `quarantine/`. If a
file of a record is damaged, everything computed from the record stays for now, and for good if the next run makes the
same bytes. If the content of a record is wrong, everything computed from it is wrong and set aside, too.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from catalog.check import CATALOG_DIFFERS, Damage
from catalog.store import Catalog, rebuild
from mlprune.json_values import as_str
from mlprune.store.records import Record, RecordKey, record_path
from mlprune.store.repair import quarantine_records_of
from mlprune.store.store import Store
from mlprune.store.succession import quarantine_dependents


@dataclass(frozen=True)
class Repair:
    """Result of a repair."""

    set_aside: tuple[str, ...]
    """Paths of the records that are in quarantine now."""
    rebuilt: bool
    """Whether the catalog was filled again."""
    recipes: tuple[str, ...]
    """Names of the recipes in the store, one or more of which have to run again."""


def repair(store: Store, damages: Iterable[Damage]) -> Repair:
    """Set aside the records of damages, and fill the catalog again if it differs.

    Args:
        store: opened with `quarantine=True`.
        damages: what `check` found in this store.
    """
    damages = list(damages)
    before = set(store.record_names())
    wrong = {damage.location for damage in damages if damage.is_wrong_content}
    records = list(_with_masks(store, wrong))  # reading all records moves the unreadable ones
    for record in records:
        store.quarantine(record)
    quarantine_dependents(store, records)
    quarantine_records_of(store, {damage.location for damage in damages})
    must_rebuild = any(damage.problem.startswith(CATALOG_DIFFERS) for damage in damages)
    if must_rebuild:
        rebuild(store)
    else:
        with Catalog.open(store) as catalog:
            catalog.fold()
    set_aside = _paths(before - set(store.record_names()))
    recipes = sorted({as_str(record.parameters["name"]) for record in store.records("recipes")})
    return Repair(tuple(set_aside), must_rebuild, tuple(recipes))


def _with_masks(store: Store, wrong: Collection[str]) -> Iterator[Record]:
    """Yield the records of some paths; for a variant also its composition, orderings and the blocks of these."""
    ids = {path.rpartition("/")[2].removesuffix(".json") for path in wrong}
    compositions = [record for record in store.records("mask_compositions") if record.parents["variant"] in ids]
    composed_from = {record.parent("ordering") for record in compositions}
    orderings = {
        record.id
        for record in store.records("masks")
        if record.id in composed_from or any(row["variant_id"] in ids for row in record.rows["ordering_variants"])
    }
    with_masks = {*orderings, *(record.id for record in compositions)}
    for record in store.records():
        is_block = record.kind == "mask_blocks" and record.parameters["ordering"] in {*ids, *orderings}
        if record.path in wrong or record.id in with_masks or is_block:
            yield record


def _paths(keys: Iterable[RecordKey]) -> Iterator[str]:
    return (record_path(*key) for key in sorted(keys))
