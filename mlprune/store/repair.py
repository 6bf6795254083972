"""Repair of damage that a command meets while it reads: quarantine the records concerned and name the next step."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlprune.errors import DamagedArtefactError, StoreError
from mlprune.store.store import Store


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
        n_records = quarantine_records_of(store, str(err.context.get("path", "")))
        context = {
            **err.context,
            "quarantined": f"{n_records} records",
            "next": f"run the recipe again: mlprune run RECIPE --store {store.uri}",
        }
        raise StoreError(err.message, context) from err


def quarantine_records_of(store: Store, path: str) -> int:
    """Move every record that lists an artefact to quarantine, so that its work is done again; return how many."""
    concerned = [record for record in store.records() if any(one.path == path for one in record.artefacts)]
    for record in concerned:
        store.quarantine(record)
    return len(concerned)
