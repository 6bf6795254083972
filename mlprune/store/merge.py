"""Merging of stores: copy the records, artefacts and run files of another store.

Equal work has equal ids, so a record that is in both stores is kept as it is in this one, even if another machine
computed other bytes for its artefacts. Artefacts are verified and copied before their record. Claims, the quarantine
and the catalog are not copied. Files that were retired here stay retired; of files that were retired there, the marker
is copied with the record.

The other store may be anybody's. A merge writes only into the folders of a record's kind. It replaces a file only if a
record of this store lists it with the same hash, so that the file is known to be damaged. It follows no link that leads
out of the other store; of a link inside it, the content is copied.
"""

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from mlprune.errors import DamagedArtefactError, RetiredArtefactError, StoreError
from mlprune.given_files import require_inside
from mlprune.json_values import as_list, as_object, as_str
from mlprune.store.artefacts import sha256_of
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import ID_LENGTH, Artefact, Record, RecordKey, parent_ids, record_path
from mlprune.store.retired import group_of, marker_path, only_retired, read_marker, retired_groups, write_marker
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

UNVERIFIED = "unverified"
"""Folder of the store with a mark for each merge that examined nothing: the other store, and the copied records."""
MOST_NAMED = 20
"""Number of refused records that are logged with the reason."""

Examination = Callable[[Store, Record], Iterable[str]]
"""Returns what is wrong with a record that can be read, given its store."""


@dataclass(frozen=True)
class Merge:
    """Result of a merge."""

    n_records: int
    """Records copied."""
    n_files: int
    """Artefacts and run files copied."""
    n_known: int
    """Records that existed already."""
    refused: tuple[str, ...]
    """Paths of records that were not copied. The record is wrong, or it or one of its artefacts is damaged, or it
    was computed from such a record, or this store has other bytes under the path of an artefact, which another machine
    may have computed."""
    n_retired: int = 0
    """Groups of files of copied records that were retired in the other store."""


def _trust(_store: Store, _record: Record) -> Iterable[str]:
    return ()


def merge(other: Store, store: Store, *, examine: Examination = _trust) -> Merge:
    """Copy all records of another store, with their artefacts, and its run files.

    The same call completes a merge that was interrupted.

    Args:
        other: the store to copy from; nothing is changed in it.
        store: the store to copy to.
        examine: finds out what is wrong with a record of `other`. Such records are not copied.
    Raises:
        StoreError: both are the same store, or `store` cannot be written.
    """
    if other.uri.rstrip("/") == store.uri.rstrip("/"):
        raise StoreError("a store cannot be merged into itself", store=store.uri)
    existing = {(record.kind, record.id): record for record in store.records()}
    referenced = {artefact.path: artefact.sha256 for record in existing.values() for artefact in record.artefacts}
    retired_here, markers = retired_groups(store), _Markers(other, store, in_use=map(group_of, referenced))
    refused: list[str] = []
    n_records = n_files = n_known = 0
    for key in _parents_first(other.record_names()):
        if key in existing and _is_accounted_for(store, existing[key], retired_here):
            n_known += 1
            continue
        try:
            record = other.peek_record(*key)
            if record is None:  # it was removed since it was listed
                continue
            _require_no_links_out(other, [record.path, *(artefact.path for artefact in record.artefacts)])
            _require_trust(other, record, examine=examine, refused=refused)
            for artefact in record.artefacts:
                try:
                    n_files += _copy(other, store, artefact, referenced=referenced)
                except RetiredArtefactError:
                    markers.copy(artefact)
        except DamagedArtefactError as err:
            _refuse(record_path(*key), err, refused)
            continue
        store.write_record(record)
        n_records += 1
    return Merge(n_records, n_files + _copy_run_files(other, store), n_known, tuple(refused), len(markers.copied))


def _refuse(path: str, err: DamagedArtefactError, refused: list[str]) -> None:
    """Note a record that is not copied; the first ones are logged."""
    refused.append(path)
    if len(refused) <= MOST_NAMED:
        logger.warning("%s is not copied: %s", path, err)


def mark_unverified(other: Store, store: Store) -> str | None:
    """Note in a store which records a merge is about to copy from another store without examining them.

    The marks of the other store are copied, too.

    Returns: path of the mark; None if nothing is to be copied.
    """
    for path in other.list(UNVERIFIED):
        _copy_file(other, store, path)
    missing = sorted(set(other.record_names()) - set(store.record_names()))
    if not missing:
        return None
    mark = {"source": other.uri, "records": [record_path(*key) for key in missing]}
    data = json.dumps(mark, indent=1).encode()
    path = f"{UNVERIFIED}/{sha256_of(data)[:ID_LENGTH]}.json"
    store.write(path, data)
    return path


def unverified_records(store: Store) -> dict[str, list[str]]:
    """Return other store -> paths of the records of this store that were copied from there without examination.

    A mark that cannot be read names itself as its source.
    """
    present = {record_path(*key) for key in store.record_names()} if store.list(UNVERIFIED) else set()
    copied: dict[str, list[str]] = {}
    for path in store.list(UNVERIFIED):
        try:
            mark = as_object(store.read_json(path))
            source, records = as_str(mark["source"]), {as_str(one) for one in as_list(mark["records"])}
        except (OSError, ValueError, LookupError, TypeError):
            source, records = path, set()
        copied.setdefault(source, []).extend(sorted(records & present))
    return copied


def _is_accounted_for(store: Store, record: Record, retired: Collection[str]) -> bool:
    """Whether every artefact of a record exists with its size or was retired."""
    sizes = store.sizes_of([artefact.path for artefact in record.artefacts])
    return only_retired(record, sizes, groups=retired) is not None


class _Markers:
    """Copies the markers of retired files, each once."""

    def __init__(self, other: Store, store: Store, *, in_use: Iterable[str]) -> None:
        """Get ready to copy markers.

        Args:
            in_use: groups of files that records of `store` list. Their markers are not copied: such a file is missing
                by damage, which the marker would hide.
        """
        self._other, self._store = other, store
        self._in_use = frozenset(in_use)
        self.copied: dict[str, None] = {}
        """Groups whose markers were copied."""

    def copy(self, artefact: Artefact) -> None:
        """Copy the marker of an artefact that was retired in the other store.

        Raises:
            DamagedArtefactError: a record of this store lists a file of the group, or the marker is a link out of the
                other store.
        """
        group = group_of(artefact.path)
        _require_no_links_out(self._other, [marker_path(group)])
        marker = read_marker(self._other, group)
        if marker is None or group in self._in_use:
            raise DamagedArtefactError("an artefact was retired in the other store", path=artefact.path)
        if group not in self.copied:
            retired_at, reason = (str(marker.get(key, "unknown")) for key in ("retired_at", "reason"))
            write_marker(self._store, group, retired_at=retired_at, reason=reason)
            self.copied[group] = None


def _parents_first(names: Iterable[RecordKey]) -> list[RecordKey]:
    """Sort (kind, id) of records so that, as far as their kinds show it, a record comes after those it is made from."""
    positions = {kind: position for position, kind in enumerate(RECORD_KINDS)}
    return sorted(names, key=lambda name: (positions.get(name[0], len(positions)), name))


def _require_trust(other: Store, record: Record, *, examine: Examination, refused: Iterable[str]) -> None:
    """Check the content of a record.

    Raises:
        DamagedArtefactError: it is wrong, or was computed from a record that was refused.
    """
    refused_ids = {path.rpartition("/")[2].removesuffix(".json"): path for path in refused}
    for parent in parent_ids(record):
        if parent in refused_ids:
            raise DamagedArtefactError("it was computed from a record that is not copied", parent=refused_ids[parent])
    for problem in examine(other, record):
        raise DamagedArtefactError(problem)


def _copy(other: Store, store: Store, artefact: Artefact, *, referenced: Mapping[str, str]) -> bool:
    """Copy an artefact unless it exists; return whether it was copied.

    Args:
        referenced: path -> SHA-256 of the artefacts that records of `store` list.
    Raises:
        DamagedArtefactError: it is missing or damaged in `other`, or `store` has other bytes under its path, except
            where these are the damage of a file that a record of `store` lists.
        RetiredArtefactError: it was retired in `other`.
    """
    expected = referenced.get(artefact.path, artefact.sha256)
    if expected != artefact.sha256:
        message = "a record of this store lists other bytes"
        raise DamagedArtefactError(message, path=artefact.path, expected=expected, got=artefact.sha256)
    try:
        store.read_bytes(artefact)
    except RetiredArtefactError:
        return False
    except DamagedArtefactError as err:
        if artefact.path not in referenced and store.sizes_of([artefact.path]) != [-1]:
            message = "this store has another file under the path of an artefact, and no record lists it"
            raise DamagedArtefactError(message, path=artefact.path, next="mlprune store gc, then merge again") from err
        store.write_bytes(artefact.path, other.read_bytes(artefact), n_rows=artefact.n_rows)
        return True
    return False


def _copy_run_files(other: Store, store: Store) -> int:
    """Copy the run files that do not exist. Run ids are random, so files of equal names are equal."""
    missing = sorted(set(other.list("runs")) - set(store.list("runs")))
    return sum(_copy_file(other, store, path) for path in missing)


def _copy_file(other: Store, store: Store, path: str) -> bool:
    """Copy a file that no record lists; one that cannot be read is named. Return whether it was copied."""
    try:
        _require_no_links_out(other, [path])
        data = other.read_file(path)
    except (OSError, DamagedArtefactError) as err:
        logger.warning("%s is not copied: %s", path, err)
        return False
    if data is not None:
        store.write_bytes(path, data)
    return data is not None


def _require_no_links_out(other: Store, paths: Iterable[str]) -> None:
    """Check that no link leads from some paths out of the other store.

    Raises:
        DamagedArtefactError: one does.
    """
    root = other.local_root
    for path in paths if root is not None else ():
        try:
            require_inside(f"{root}/{path}", str(root))
        except OSError as err:
            raise DamagedArtefactError("a file is a link out of the other store", path=path) from err
