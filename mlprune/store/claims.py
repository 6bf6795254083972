"""Advisory claims on records, so that two runs in one store do not do the same work twice.

A claim is a small file `claims/<kind>/<id>.json`. Its owner renews it while the work lasts and removes it at the end.
No result depends on claims: a record is the same whichever run makes it, and it appears whole. So if a claim is lost,
or is taken over from a run that was only slow, work is repeated and nothing else happens. A store in which claims
cannot be written is used without them. The driver decides what to do about work that another run has claimed.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mlprune.errors import MlpruneError
from mlprune.json_values import JsonObject, parse_json
from mlprune.processes.job_parts import RunningParts
from mlprune.processes.process_identity import is_gone, is_of_ended_process, this_process
from mlprune.store.store import Store
from mlprune.timestamps import timestamp

logger = logging.getLogger(__name__)
Key = tuple[str, str]
"""(kind, id) of a record."""
CLOCK = "claims/clock/"
"""Folder of the files by which the garbage collection reads the store's clock."""
STALE_AFTER_S = 60.0
"""Time without a renewal after which a claim is stale. Claims are renewed four times as often."""
PEER_CHECK_S = 5.0
"""Interval at which a run checks whether it is alone in an object store; also the time before the first check."""
PARTS_S = 3.0
"""Shortest time between two writes of a claim in a folder, while parts of its job finish. In an object store, where
writes cost more, the renewals have them."""


@dataclass(frozen=True)
class _SeenClaim:
    """A claim of another run, as it was last read."""

    data: bytes
    since: float
    """When it was first read with this content, by this process's monotonic clock."""


class SeenClaims:
    """The claims of other runs that were read.

    Args:
        stale_after_s: time without a renewal after which a claim is stale that does not state one.
    """

    def __init__(self, stale_after_s: float) -> None:
        self._stale_after_s = stale_after_s
        self._by_key: dict[Key, _SeenClaim] = {}

    def is_stale(self, key: Key, data: bytes) -> bool:
        """Return whether a claim has not changed for too long, or its process has ended.

        Args:
            data: content of the claim, as it was just read.
        """
        now = time.monotonic()
        seen = self._by_key.get(key)
        if seen is None or seen.data != data:
            seen = self._by_key[key] = _SeenClaim(data, now)
        claim = parse_claim(data)
        if is_gone(claim.get("process")):
            return True
        stale_after_s = claim.get("stale_after_s")
        limit_s = stale_after_s if isinstance(stale_after_s, int | float) else self._stale_after_s
        return now - seen.since > limit_s

    def owner_of(self, key: Key) -> str:
        """Return the owner of a claim as it was last read, for messages."""
        seen = self._by_key.get(key)
        return str(parse_claim(seen.data).get("owner", "another run")) if seen else "another run"

    def forget(self, key: Key) -> None:
        """Forget a claim, because this run has the record now."""
        self._by_key.pop(key, None)


def parse_claim(data: bytes) -> JsonObject:
    """Parse a claim; empty if it is not a claim, for example because it is being written."""
    try:
        claim = parse_json(data)
    except ValueError:
        return {}
    return claim if isinstance(claim, dict) else {}


def read_claim(store: Store, path: str) -> JsonObject:
    """Read a claim; empty if it is not a claim, or does not exist."""
    return parse_claim(store.read_file(path) or b"")


def is_abandoned(store: Store, path: str) -> bool:
    """Return whether a file below `claims/` is that of a process of this machine that has ended."""
    return is_of_ended_process(path) if path.startswith(CLOCK) else is_gone(read_claim(store, path).get("process"))


def claim_path(kind: str, record_id: str) -> str:
    """Return the path of the claim on a record, relative to the store."""
    return f"claims/{kind}/{record_id}.json"


class Claims:
    """The claims of one run. Use it as a context manager: a thread renews the claims, and the end removes them.

    A claim is stale if its file does not change for the time that its owner stated, by the clock of the process that
    reads it. So the clocks of other machines may be wrong. If the owner was a process of this machine that has ended,
    its claim is stale at once.

    In a folder, a claim file is created exclusively. In an object store, a run first reads the claim, then writes it
    and reads it back. A run that found no claims of other runs writes its claims without reading, in one request each,
    and checks every few seconds for claims of other runs. A run that starts later reads before it writes.

    Args:
        store: the store to which the records are written.
        owner: name of the run, for messages of other runs.
        stale_after_s: time after which other runs may take over the claims, if this process dies.
        parts: returns how far the running jobs are, for people who follow the run; called in the thread.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        *,
        stale_after_s: float = STALE_AFTER_S,
        parts: Callable[[], RunningParts] | None = None,
    ) -> None:
        self._store = store
        self._owner = owner
        self._process = this_process()
        self._stale_after_s = stale_after_s
        self._lock = threading.Lock()
        self._held: dict[Key, float] = {}
        """Claims of this run -> when each was last written."""
        self._parts_of_jobs = parts
        self._parts: RunningParts = {}
        """Claims of this run -> how far their jobs are."""
        self._written_shares: dict[Key, float | None] = {}
        """Claims of this run -> the finished share in their files; None without one."""
        self._works: dict[Key, str] = {}
        """Claims of this run -> what they are for."""
        self._released: dict[Key, None] = {}
        """Claims that the thread is going to remove."""
        self._seen_claims = SeenClaims(stale_after_s)
        self._is_on = True
        """False after an error: then the run goes without claims."""
        self._n_written = 0
        self._wake, self._is_closed = threading.Event(), False
        self._thread = threading.Thread(target=self._maintain, name="claims", daemon=True)
        self._checks_for_peers = store.local_root is None
        """False in a folder, where reading is cheap, and after another run was detected."""
        self.may_have_peers = True
        """Whether other runs may be writing to the store; False only while a check has found none."""

    def __enter__(self) -> "Claims":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        self._wake.set()
        self._thread.join()
        self._released |= dict.fromkeys(self._held)
        self._held.clear()
        self._best_effort(self._remove_released)
        self._best_effort(self._remove_orphans)

    def take(self, key: Key, *, work: str = "") -> bool:
        """Claim a record; return False if another run has claimed it.

        Taking a record that this run already holds succeeds.

        Args:
            work: what the claim is for, as text for people who follow the run.
        """
        with self._lock:
            self._works[key] = work
            if not self._is_on or key in self._held:
                return True
            if key in self._released:
                del self._released[key]
                self._held[key] = 0.0
                return True
        try:
            is_taken = self._take(key)
        except (OSError, MlpruneError) as err:
            self._disable(err)
            return True
        if is_taken:
            self._seen_claims.forget(key)
            with self._lock:
                self._held[key] = time.monotonic()
        return is_taken

    def release(self, key: Key) -> None:
        """Release a claim, after its record was written or its job has failed. The thread removes the file later."""
        with self._lock:
            self._works.pop(key, None)
            self._written_shares.pop(key, None)
            if self._held.pop(key, None) is not None:
                self._released[key] = None
        self._wake.set()

    def owner_of(self, key: Key) -> str:
        """Return the owner of a claim when `take` last returned False for it, for messages."""
        return self._seen_claims.owner_of(key)

    def _take(self, key: Key) -> bool:
        path, data = claim_path(*key), self._new_claim(key)
        if not self.may_have_peers:
            self._store.write_bytes(path, data)
            return True
        if self._store.write_if_absent(path, data):
            return self._store.local_root is not None or self._owns(path)
        other_claim = self._store.read_file(path)
        if other_claim is None or not self._seen_claims.is_stale(key, other_claim):
            self._on_peer_detected()
            return False
        logger.warning("%s stopped renewing its claim: taking over its work on %s %s", self.owner_of(key), *key)
        self._store.write_bytes(path, data)
        return self._owns(path)

    def _new_claim(self, key: Key) -> bytes:
        """Return the content of a claim. It differs at every call, so that other runs notice a renewal."""
        with self._lock:
            self._n_written += 1
            parts = self._parts.get(key)
            self._written_shares[key] = parts.share if parts else None
            claim = {
                "owner": self._owner,
                "process": self._process,
                "stale_after_s": self._stale_after_s,
                "renewed_at": timestamp(),
                "n": self._n_written,
                "work": self._works.get(key, ""),
                **({"parts": parts.to_json()} if parts else {}),
            }
        return (json.dumps(claim) + "\n").encode()

    def _owns(self, path: str) -> bool:
        claim = read_claim(self._store, path)
        return (claim.get("owner"), claim.get("process")) == (self._owner, self._process)

    # The thread

    def _maintain(self) -> None:
        """Remove released claims, renew the others and check for other runs, until the end."""
        renew_s = self._stale_after_s / 4
        check_s = min(renew_s, PEER_CHECK_S)
        parts_s = min(renew_s, PARTS_S) if self._parts_of_jobs and self._store.local_root is not None else renew_s
        checked_at = time.monotonic()
        while not self._is_closed and self._is_on:
            self._wake.wait(min(parts_s, check_s if self._checks_for_peers else renew_s))
            self._wake.clear()
            self._best_effort(self._remove_released)
            self._parts = self._parts_of_jobs() if self._parts_of_jobs else {}
            self._best_effort(self._renew, renew_s, parts_s)
            if self._checks_for_peers and time.monotonic() - checked_at > check_s:
                self._best_effort(self._check_for_peers)
                checked_at = time.monotonic()

    def _remove_released(self) -> None:
        while self._released and self._is_on:
            with self._lock:  # `take` must not reuse the claim while its file is being removed
                if self._released:
                    key = next(iter(self._released))
                    if not self.may_have_peers or self._owns(claim_path(*key)):
                        self._store.delete(claim_path(*key))
                    self._released.pop(key)

    def _renew(self, after_s: float, parts_s: float) -> None:
        """Write again every claim older than `after_s`; drop those that another run has taken over.

        Args:
            parts_s: age of a claim that is written again if parts of its job have finished.
        """
        for key in list(self._held):
            path = claim_path(*key)
            parts = self._parts.get(key)
            has_news = parts is not None and parts.share != self._written_shares.get(key)
            if time.monotonic() - self._held.get(key, time.monotonic()) < (parts_s if has_news else after_s):
                continue
            data = self._new_claim(key)
            with self._lock:
                if key not in self._held:
                    continue
                if not self._owns(path):
                    self._on_peer_detected()
                    logger.warning("another run took over %s %s: it is made twice, which does no harm", *key)
                    del self._held[key]
                    continue
                self._store.write_bytes(path, data)
                self._held[key] = time.monotonic()

    def _check_for_peers(self) -> None:
        """Look for claims of other runs."""
        paths = set(self._store.list("claims"))
        with self._lock:
            own_paths = {claim_path(*key) for key in (*self._held, *self._released)}
        self.may_have_peers = False
        if any(not self._owns(path) for path in sorted(paths - own_paths)):
            self._on_peer_detected()

    def _on_peer_detected(self) -> None:
        """Read claims before writing them from now on: another run writes to the store."""
        self._checks_for_peers, self.may_have_peers = False, True

    def _remove_orphans(self) -> None:
        """Remove the claims of killed runs: those on existing records, and those of ended processes of this machine."""
        for path in self._store.list("claims"):
            kind, _, name = path.removeprefix("claims/").partition("/")
            has_record = self._store.has_record(kind, name.removesuffix(".json"))
            if self._is_on and (has_record or is_abandoned(self._store, path)):
                self._store.delete(path)

    def _best_effort(self, action: Callable[..., None], *arguments: float) -> None:
        try:
            action(*arguments)
        except (OSError, MlpruneError) as err:
            self._disable(err)

    def _disable(self, err: Exception) -> None:
        """Continue without claims: they only save work."""
        if self._is_on:
            logger.warning("claims cannot be written: another run in this store may repeat work of this one (%s)", err)
        self._is_on = False
