"""Merging: what another store holds comes into this one.

Equal work has equal ids, so two stores never contradict each other: a record that is in both is taken once, and where
the bytes of its artefacts differ (another machine computed them) this store's stay. An artefact comes before its record
and is verified on the way. Run files come along; claims, quarantine and the catalog do not.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlprune.errors import DamagedArtefactError, StoreError
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Artefact, RecordKey, record_path
from mlprune.store.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Merge:
    """What a merge did."""

    n_records: int
    """Records that came."""
    n_files: int
    """Artefacts and run files that came."""
    n_known: int
    """Records that were here already."""
    refused: tuple[str, ...]
    """Paths of records that were not taken: the record or an artefact of it is damaged, or a record here names other
    bytes under an artefact's path, as another machine may have computed them."""


def merge(other: Store, store: Store) -> Merge:
    """Copy all records of another store, with their artefacts, and its run files.

    A merge that broke off is finished by the same call: what came is known.

    Raises:
        StoreError: both are the same store, or this one cannot be written.
    """
    if other.uri.rstrip("/") == store.uri.rstrip("/"):
        raise StoreError("a store cannot be merged into itself", store=store.uri)
    ours = {(record.kind, record.id): record for record in store.records()}
    reached = {artefact.path: artefact.sha256 for record in ours.values() for artefact in record.artefacts}
    refused: list[str] = []
    n_records = n_files = n_known = 0
    for key in _parents_first(other.record_names()):
        if key in ours and store.is_complete(ours[key]):
            n_known += 1
            continue
        try:
            record = other.peek_record(*key)
            if record is None:  # it has been moved aside since it was listed
                continue
            n_files += sum(_copy(other, store, artefact, reached=reached) for artefact in record.artefacts)
        except DamagedArtefactError as err:
            logger.warning("%s is not taken: %s", record_path(*key), err)
            refused.append(record_path(*key))
            continue
        store.write_record(record)
        n_records += 1
    return Merge(n_records, n_files + _copy_run_files(other, store), n_known, tuple(refused))


def _parents_first(names: Iterable[RecordKey]) -> list[RecordKey]:
    """Sort (kind, id) of records so that, as far as their kinds show it, a record comes after those it is made from."""
    positions = {kind: position for position, kind in enumerate(RECORD_KINDS)}
    return sorted(names, key=lambda name: (positions.get(name[0], len(positions)), name))


def _copy(other: Store, store: Store, artefact: Artefact, *, reached: Mapping[str, str]) -> bool:
    """Copy an artefact unless it is here; returns whether it came.

    Raises:
        DamagedArtefactError: it is missing or damaged there, or a record here reaches another file of this name.
    """
    if reached.get(artefact.path, artefact.sha256) != artefact.sha256:
        raise DamagedArtefactError(
            "a record here names other bytes", path=artefact.path, expected=reached[artefact.path], got=artefact.sha256
        )
    try:
        store.read_bytes(artefact)
    except DamagedArtefactError:
        store.write_bytes(artefact.path, other.read_bytes(artefact), n_rows=artefact.n_rows)
        return True
    return False


def _copy_run_files(other: Store, store: Store) -> int:
    """Copy the run files that are not here; run ids are drawn at random, so equal names are equal files."""
    missing = sorted(set(other.list("runs")) - set(store.list("runs")))
    n_files = 0
    for path in missing:
        data = other.read_file(path)
        if data is not None:
            store.write_bytes(path, data)
            n_files += 1
    return n_files
