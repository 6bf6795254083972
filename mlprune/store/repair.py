"""Repair of damage: quarantine the records concerned, so that their work is done again, and name the next step."""

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from mlprune.errors import DamagedArtefactError, StoreError
from mlprune.store.backend.store_files import quarantine_path
from mlprune.store.records import Record, RecordKey, record_path
from mlprune.store.store import Store
from mlprune.store.succession import quarantined_copies

logger = logging.getLogger(__name__)


@contextmanager
def quarantine_on_damage(store: Store) -> Iterator[None]:
    """Turn damage met in the block into one line that names the repair; move the records concerned to quarantine.

    Args:
        store: opened with `quarantine=True`.
    Raises:
        StoreError: an artefact or a record is damaged or missing. Its work is done again by the next run of its recipe.
    """
    try:
        yield
    except DamagedArtefactError as err:
        records = quarantine_records_of(store, [str(err.context.get("path", ""))])
        context = {
            **err.context,
            "quarantined": f"{len(records)} records",
            "next": f"run the recipe again: mlprune run RECIPE --store {store.uri}",
        }
        raise StoreError(err.message, context) from err


def quarantine_records_of(store: Store, paths: Collection[str]) -> list[str]:
    """Move every record that lists one of some artefacts to quarantine; return the paths of these records."""
    wanted = set(paths)
    concerned = [record for record in store.records() if any(artefact.path in wanted for artefact in record.artefacts)]
    for record in concerned:
        store.quarantine(record)
    return [record.path for record in concerned]


def copy_to_quarantine(store: Store, record: Record) -> None:
    """Keep a copy of a record that stays in its place until it is made again.

    If the new record differs from the copy, everything computed from the old one is made again, too.
    """
    store.write_bytes(quarantine_path(record.path), record.to_json().encode())


def remove_equal_copies(store: Store) -> int:
    """Remove the records in quarantine that equal those that were made again in their place; return how many."""
    n_removed = 0
    for key, copies in quarantined_copies(store).items():
        text = store.read_file(record_path(*key))
        for copy in copies if text is not None else ():
            if store.read_file(copy.path) == text:
                store.delete(copy.path)
                n_removed += 1
    return n_removed


def scrub(store: Store, keys: Iterable[RecordKey]) -> int:
    """Read every artefact of some records and quarantine the records with a damaged one; return how many.

    Retired artefacts do not count as damage.

    Args:
        store: opened with `quarantine=True`.
        keys: (kind, id) of records; those that do not exist are skipped.
    """
    n_damaged = 0
    for key in keys:
        record = store.read_record(*key)
        if record is not None and not store.is_intact(record, may_be_retired=True):
            logger.warning("an artefact of %s %s is damaged and will be made again", *key)
            store.quarantine(record)
            n_damaged += 1
    return n_damaged
