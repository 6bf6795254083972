"""Garbage: files of a store that no record reaches, or that stand elsewhere too, and how to be rid of them.

A running job writes its artefacts before its record, so an unreached file may still be needed. It counts as garbage if
it is older than any job is expected to take, and is removed if that is so by the clock of the store too and no claim
there is alive.
"""

import logging
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from mlprune.atomic import UNFINISHED
from mlprune.errors import DamagedRecordError, StoreError
from mlprune.store.local_files import FileInfo
from mlprune.store.record_kinds import ARTEFACT_FOLDERS
from mlprune.store.run_log_files import RunFiles
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

LEFT_OVER = re.compile(r".*\.(?:writing|rebuilding|downloading|damaged)-[^/]*")
"""Name of a file that a killed process did not finish, or of a damaged catalog that was moved aside."""
CLOCK = "claims/clock/"
"""Folder of the files by which the store's clock is read."""
MIN_AGE_S = 24 * 3600.0
"""Age from which an unreached file counts as garbage."""
CLAIM_ALIVE_S = 3600.0
"""Age up to which a claim counts as a sign of a running job; living claims are renewed every 15 s."""


@dataclass(frozen=True)
class Garbage:
    """What no record reaches."""

    files: tuple[FileInfo, ...]
    """To be removed."""
    young: tuple[FileInfo, ...]
    """Not old enough: a running job may still need them."""
    min_age_s: float

    @property
    def n_bytes(self) -> int:
        """Size of what is to be removed."""
        return sum(one.n_bytes for one in self.files)


def find_garbage(store: Store, *, min_age_s: float = MIN_AGE_S) -> Garbage:
    """List what no record reaches: artefacts without a record, half-written files, stale claims, quarantined records.

    Args:
        min_age_s: files that were written later are left alone.
    Raises:
        StoreError: a segment of records cannot be read: its artefacts would be taken for garbage.
    """
    candidates = list(_candidates(store))  # listed before the records: what they reach meanwhile is written later
    reached = _reached(store)
    unreached = [one for one in candidates if one.path not in reached]
    now = time.time()
    old = tuple(one for one in unreached if now - one.modified_at >= min_age_s)
    young = tuple(one for one in unreached if now - one.modified_at < min_age_s)
    return Garbage(old, young, min_age_s)


def remove_garbage(store: Store, garbage: Garbage) -> int:
    """Remove what was listed, unless a record reaches it by now; returns how many files were removed.

    Raises:
        StoreError: a run is at work in the store, or a segment of records cannot be read.
    """
    now = _now(store)
    if alive := living_claims(store, now=now):
        raise StoreError(
            "a run is at work in the store",
            store=store.uri,
            got=f"{len(alive)} claims, such as {alive[0]}",
            next="wait for its end; claims of a dead run are ignored after an hour",
        )
    reached = _reached(store)
    n_files = 0
    for one in garbage.files:
        if one.path not in reached and now - one.modified_at >= garbage.min_age_s:
            store.delete(one.path)
            n_files += 1
    return n_files


def _now(store: Store) -> float:
    """The time by the clock of whoever keeps the files: our own may be wrong."""
    path = f"{CLOCK}{uuid.uuid4().hex[:8]}"
    store.write_bytes(path, b"\n")
    found = store.file_info(path)
    store.delete(path)
    return found.modified_at if found is not None else time.time()


def living_claims(store: Store, *, now: float) -> list[str]:
    """Paths of the claims that may belong to a running job."""
    return [
        claim.path
        for claim in store.files("claims")
        if now - claim.modified_at < CLAIM_ALIVE_S and not claim.path.startswith(CLOCK)
    ]


def _candidates(store: Store) -> Iterator[FileInfo]:
    for folder in ARTEFACT_FOLDERS:
        yield from store.files(folder, unfinished=True)
    yield from (one for one in store.files("records", unfinished=True) if UNFINISHED in one.path)
    of_runs = list(store.files("runs", unfinished=True))
    covered = RunFiles(one.path for one in of_runs).covered
    yield from (one for one in of_runs if UNFINISHED in one.path or one.path in covered)
    yield from store.files("quarantine")
    yield from (one for one in store.files_in() if LEFT_OVER.fullmatch(one.path))
    yield from (one for one in store.files("claims") if time.time() - one.modified_at >= CLAIM_ALIVE_S)


def _reached(store: Store) -> set[str]:
    """Paths of all artefacts that some record names.

    Raises:
        StoreError: a record or segment cannot be read.
    """
    names = store.record_names()
    unreadable = [path for kind in store.compacted.kinds() for path in store.compacted.damaged(kind)]
    reached: set[str] = set()
    for kind, record_id in names:
        try:
            record = store.peek_record(kind, record_id)
        except DamagedRecordError:
            unreadable.append(f"records/{kind}/{record_id}.json")
            continue
        if record is not None:
            reached.update(artefact.path for artefact in record.artefacts)
    if unreadable:
        raise StoreError(
            "a record cannot be read, and what it reaches is not known",
            store=store.uri,
            got=unreadable[0],
            next="mlprune catalog check names all of them; run their recipes again, or mlprune catalog rebuild",
        )
    return reached
