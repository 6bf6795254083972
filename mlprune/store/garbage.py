"""Garbage collection: find and remove files of a store that no record references, or that are stored twice.

A running job writes its artefacts before its record, so an unreferenced file may still be needed. It counts as garbage
if it is older than any job is expected to take. It is removed if it is that old by the store's clock, too, and no claim
in the store is alive. A file that a process of this machine was writing when it ended is garbage at once.
"""

import logging
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from mlprune.atomic import UNFINISHED
from mlprune.errors import DamagedRecordError, StoreError
from mlprune.processes.process_identity import file_tag, is_of_ended_process
from mlprune.store.backend.local_files import FileInfo
from mlprune.store.claims import CLOCK, is_abandoned
from mlprune.store.record_kinds import ARTEFACT_FOLDERS
from mlprune.store.run_log_files import RunFiles
from mlprune.store.store import Store
from mlprune.store.unsound_records import copies_that_count

logger = logging.getLogger(__name__)

LEFT_OVER = re.compile(r".*\.(?:writing|rebuilding|downloading|damaged)-[^/]*")
"""Name of a file that a killed process did not finish, or of a damaged catalog that was moved aside."""
MIN_AGE_S = 24 * 3600.0
"""Age from which an unreferenced file counts as garbage."""
CLAIM_ALIVE_S = 3600.0
"""Age up to which a claim is taken for that of a running job; runs renew their claims every 15 s."""


@dataclass(frozen=True)
class Garbage:
    """Files that no record references."""

    files: tuple[FileInfo, ...]
    """Files to be removed."""
    young: tuple[FileInfo, ...]
    """Files that are not old enough: a running job may still need them."""
    min_age_s: float

    @property
    def n_bytes(self) -> int:
        """Size of the files to be removed."""
        return sum(file.n_bytes for file in self.files)


def find_garbage(store: Store, *, min_age_s: float = MIN_AGE_S) -> Garbage:
    """List artefacts without a record, unfinished files, stale claims and quarantined records.

    Quarantined declarations and evaluations stay as long as no record is in their place: questions depend on them.

    Args:
        min_age_s: younger files are not garbage.
    Raises:
        StoreError: a record or a segment cannot be read: its artefacts would be taken for garbage.
    """
    candidates = list(_candidates(store))  # listed before the records, which may reference newer files only
    referenced = _referenced(store)
    unreferenced = [file for file in candidates if file.path not in referenced]
    now = time.time()
    old = [file for file in unreferenced if _is_old(store, file, now=now, min_age_s=min_age_s)]
    paths = {file.path for file in old}
    young = [file for file in unreferenced if file.path not in paths]
    return Garbage(tuple(old), tuple(young), min_age_s)


def remove_garbage(store: Store, garbage: Garbage) -> int:
    """Remove the listed files, except those that a record references by now; return how many were removed.

    Raises:
        StoreError: a run is using the store, a record or a segment cannot be read, or the folder is read-only.
    """
    store.require_writable()
    now = store_time(store)
    require_no_claims(store, now=now)
    referenced = _referenced(store)
    n_files = 0
    for file in garbage.files:
        if file.path not in referenced and _is_old(store, file, now=now, min_age_s=garbage.min_age_s):
            store.delete(file.path)
            n_files += 1
    return n_files


def store_time(store: Store) -> float:
    """Return the time by the clock of the machine that keeps the files; this machine's clock may be wrong."""
    path = f"{CLOCK}gc-{file_tag()}-{uuid.uuid4().hex[:8]}"
    store.write_bytes(path, b"\n")
    file = store.file_info(path)
    store.delete(path)
    return file.modified_at if file is not None else time.time()


def require_no_claims(store: Store, *, now: float, own: str | None = None) -> None:
    """Check that no claim may belong to a running job.

    Args:
        now: time by the store's clock.
        own: path of a claim of this process, or of another one that does the same work.
    Raises:
        StoreError: one may.
    """
    claims = [
        claim.path
        for claim in store.files("claims")
        if claim.path != own
        and not claim.path.startswith(CLOCK)
        and not _is_old(store, claim, now=now, min_age_s=CLAIM_ALIVE_S)
    ]
    if claims:
        raise in_use(store, got=f"{len(claims)} claims, such as {claims[0]}")


def in_use(store: Store, *, got: str) -> StoreError:
    """Return the error of a command that has to wait until nothing else uses the store."""
    advice = "wait for its end; claims of a dead run are ignored after an hour"
    return StoreError("a run is using the store", store=store.uri, got=got, next=advice)


def _is_old(store: Store, file: FileInfo, *, now: float, min_age_s: float) -> bool:
    """Return whether a file is old, or is an unfinished file or a claim of an ended process of this machine."""
    if now - file.modified_at >= min_age_s:
        return True
    if file.path.startswith("claims/"):
        return is_abandoned(store, file.path)
    return UNFINISHED in file.path and is_of_ended_process(file.path)


def _candidates(store: Store) -> Iterator[FileInfo]:
    for folder in ARTEFACT_FOLDERS:
        yield from store.files(folder, unfinished=True)
    yield from (file for file in store.files("records", unfinished=True) if UNFINISHED in file.path)
    run_files = list(store.files("runs", unfinished=True))
    packed = RunFiles(file.path for file in run_files).packed
    yield from (file for file in run_files if UNFINISHED in file.path or file.path in packed)
    kept = copies_that_count(store)
    yield from (file for file in store.files("quarantine") if file.path not in kept)
    yield from (file for file in store.files_in() if LEFT_OVER.fullmatch(file.path))
    now = time.time()
    yield from (file for file in store.files("claims") if _is_old(store, file, now=now, min_age_s=CLAIM_ALIVE_S))


def _referenced(store: Store) -> set[str]:
    """Return the paths of all artefacts that some record lists.

    Raises:
        StoreError: a record or segment cannot be read.
    """
    names = store.record_names()
    unreadable = [path for kind in store.compacted.kinds() for path in store.compacted.damaged(kind)]
    referenced: set[str] = set()
    for kind, record_id in names:
        try:
            record = store.peek_record(kind, record_id)
        except DamagedRecordError:
            unreadable.append(f"records/{kind}/{record_id}.json")
            continue
        if record is not None:
            referenced.update(artefact.path for artefact in record.artefacts)
    if unreadable:
        raise StoreError(
            "a record cannot be read, so the files it references are not known",
            store=store.uri,
            got=unreadable[0],
            next="mlprune check store names all of them; run their recipes again, or mlprune store rebuild",
        )
    return referenced
