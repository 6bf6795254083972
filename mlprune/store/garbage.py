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
from mlprune.process_identity import file_tag, is_gone, is_of_ended_process
from mlprune.store.backend.local_files import FileInfo
from mlprune.store.claims.seen_claims import parse_claim
from mlprune.store.record_kinds import ARTEFACT_FOLDERS
from mlprune.store.run_log_files import RunFiles
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

LEFT_OVER = re.compile(r".*\.(?:writing|rebuilding|downloading|damaged)-[^/]*")
"""Name of a file that a killed process did not finish, or of a damaged catalog that was moved aside."""
CLOCK = "claims/clock/"
"""Folder of the files by which the store's clock is read."""
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

    Args:
        min_age_s: younger files are not garbage.
    Raises:
        StoreError: a record or a segment cannot be read: its artefacts would be taken for garbage.
    """
    candidates = list(_candidates(store))  # listed before the records, which may reference newer files only
    referenced = _referenced(store)
    unreferenced = [file for file in candidates if file.path not in referenced]
    now = time.time()
    is_old = [now - file.modified_at >= min_age_s or _is_left_over(store, file) for file in unreferenced]
    old = tuple(file for file, old in zip(unreferenced, is_old, strict=True) if old)
    young = tuple(file for file, old in zip(unreferenced, is_old, strict=True) if not old)
    return Garbage(old, young, min_age_s)


def remove_garbage(store: Store, garbage: Garbage) -> int:
    """Remove the listed files, except those that a record references by now; return how many were removed.

    Raises:
        StoreError: a run is writing to the store, a record or a segment cannot be read, or the folder is read-only.
    """
    store.require_writable()
    now = _store_time(store)
    if claims := living_claims(store, now=now):
        raise StoreError(
            "a run is writing to the store",
            store=store.uri,
            got=f"{len(claims)} claims, such as {claims[0]}",
            next="wait for its end; claims of a dead run are ignored after an hour",
        )
    referenced = _referenced(store)
    n_files = 0
    for file in garbage.files:
        is_old = now - file.modified_at >= garbage.min_age_s or _is_left_over(store, file)
        if file.path not in referenced and is_old:
            store.delete(file.path)
            n_files += 1
    return n_files


def _store_time(store: Store) -> float:
    """Return the time by the clock of the machine that keeps the files; this machine's clock may be wrong."""
    path = f"{CLOCK}gc-{file_tag()}-{uuid.uuid4().hex[:8]}"
    store.write_bytes(path, b"\n")
    file = store.file_info(path)
    store.delete(path)
    return file.modified_at if file is not None else time.time()


def living_claims(store: Store, *, now: float) -> list[str]:
    """Return the paths of claims that may belong to a running job."""
    return [
        claim.path
        for claim in store.files("claims")
        if now - claim.modified_at < CLAIM_ALIVE_S
        and not claim.path.startswith(CLOCK)
        and not _is_left_over(store, claim)
    ]


def _is_left_over(store: Store, file: FileInfo) -> bool:
    """Return whether a file is an unfinished one, or a claim, of a process of this machine that has ended."""
    is_claim = file.path.startswith("claims/") and not file.path.startswith(CLOCK)
    if is_claim:
        return is_gone(parse_claim(store.read_file(file.path) or b"").get("process"))
    return (UNFINISHED in file.path or file.path.startswith(CLOCK)) and is_of_ended_process(file.path)


def _candidates(store: Store) -> Iterator[FileInfo]:
    for folder in ARTEFACT_FOLDERS:
        yield from store.files(folder, unfinished=True)
    yield from (file for file in store.files("records", unfinished=True) if UNFINISHED in file.path)
    run_files = list(store.files("runs", unfinished=True))
    packed = RunFiles(file.path for file in run_files).packed
    yield from (file for file in run_files if UNFINISHED in file.path or file.path in packed)
    yield from store.files("quarantine")
    yield from (file for file in store.files_in() if LEFT_OVER.fullmatch(file.path))
    for file in store.files("claims"):
        if time.time() - file.modified_at >= CLAIM_ALIVE_S or _is_left_over(store, file):
            yield file


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
            next="mlprune catalog check names all of them; run their recipes again, or mlprune catalog rebuild",
        )
    return referenced
