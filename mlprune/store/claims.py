"""Advisory claims: who is making a record right now, so that two runs in one store do not do the same work twice.

A claim is a small file `claims/<kind>/<id>.json` that its owner renews while the work lasts and removes at its end.
Nothing depends on it: records are the same whoever makes them and appear whole, so a claim that is lost, or taken over
from somebody who was only slow, costs repeated work and nothing else. A store in which claims cannot be written is used
without them. What to do about work that somebody else has claimed is left to the driver.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from mlprune.errors import MlpruneError
from mlprune.json_values import JsonObject
from mlprune.store.process_identity import is_gone, this_process
from mlprune.store.store import Store
from mlprune.timestamps import timestamp

logger = logging.getLogger(__name__)

STALE_AFTER_S = 60.0
"""Time without a sign of life after which a claim is given up for dead; it is renewed four times as often."""
LOOK_AROUND_S = 5.0
"""How often a run looks whether it is alone in an object store; the first time after so long."""

Key = tuple[str, str]
"""(kind, id) of a record."""


def claim_path(kind: str, record_id: str) -> str:
    """Where the claim on a record lies, relative to the store."""
    return f"claims/{kind}/{record_id}.json"


@dataclass(frozen=True)
class _Sight:
    """A claim of somebody else as last seen."""

    data: bytes
    since: float
    """When it was first seen with this content, on our own monotonic clock."""


class Claims:
    """The claims of one run. Use it as a context manager: a thread renews them, and the end removes them.

    Whether a claim is alive is judged by our own clock alone: it is stale if its file does not change for the time its
    owner stated, so the clocks of other machines may be wrong. An owner that ran on this machine and has ended is
    known to be dead at once.

    In a folder a claim is created exclusively. In an object store we ask first and read back. A run that has looked
    around there and seen nobody writes its claims unasked, one request each, and looks again every few seconds: whoever
    comes later begins by asking.

    Args:
        store: where the records go.
        owner: the run, as others are told.
        stale_after_s: how long our claims outlive us.
    """

    def __init__(self, store: Store, owner: str, *, stale_after_s: float = STALE_AFTER_S) -> None:
        self._store = store
        self._owner = owner
        self._process = this_process()
        self._stale_after_s = stale_after_s
        self._lock = threading.Lock()
        self._held: dict[Key, float] = {}
        """Our claims, and when each was last written."""
        self._leaving: dict[Key, None] = {}
        """Claims that the thread is to remove."""
        self._sights: dict[Key, _Sight] = {}
        self._is_on = True
        self._n_written = 0
        self._wake, self._is_closed = threading.Event(), False
        self._thread = threading.Thread(target=self._attend, name="claims", daemon=True)
        self._is_watched = store.local_root is None
        """Whether it is worth looking around: in a folder asking costs nothing, and whoever met one stays careful."""
        self.has_company = True
        """Whether others may be at work in the store; False only while we know better."""

    def __enter__(self) -> "Claims":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        self._wake.set()
        self._thread.join()
        self._leaving |= dict.fromkeys(self._held)
        self._held.clear()
        self._carefully(self._remove)
        self._carefully(self._sweep)

    def take(self, key: Key) -> bool:
        """Claim a record; False if somebody else is making it. What is ours already is ours."""
        with self._lock:
            if not self._is_on or key in self._held:
                return True
            if key in self._leaving:
                del self._leaving[key]
                self._held[key] = 0.0
                return True
        try:
            is_ours = self._take(key)
        except (OSError, MlpruneError) as err:
            self._give_up(err)
            return True
        if is_ours:
            self._sights.pop(key, None)
            with self._lock:
                self._held[key] = time.monotonic()
        return is_ours

    def release(self, key: Key) -> None:
        """Let a claim go: its record is there, or will not be made by us. The file is removed a little later."""
        with self._lock:
            if self._held.pop(key, None) is not None:
                self._leaving[key] = None
        self._wake.set()

    def owner_of(self, key: Key) -> str:
        """Who held a claim when `take` last found it taken, for messages."""
        sight = self._sights.get(key)
        return str(_parsed(sight.data).get("owner", "another run")) if sight else "another run"

    def _take(self, key: Key) -> bool:
        path, data = claim_path(*key), self._claim()
        if not self.has_company:
            self._store.write_bytes(path, data)
            return True
        if self._store.write_if_absent(path, data):
            return self._store.local_root is not None or self._is_ours(path)
        found = self._store.read_file(path)
        if found is None or not self._is_stale(key, found):
            self._met()
            return False
        logger.warning("%s gave no sign of life: taking over its work on %s %s", self.owner_of(key), *key)
        self._store.write_bytes(path, data)
        return self._is_ours(path)

    def _claim(self) -> bytes:
        """The content of a claim; never twice the same, so that others see it live."""
        with self._lock:
            self._n_written += 1
            claim = {
                "owner": self._owner,
                "process": self._process,
                "stale_after_s": self._stale_after_s,
                "renewed_at": timestamp(),
                "n": self._n_written,
            }
        return (json.dumps(claim) + "\n").encode()

    def _is_ours(self, path: str) -> bool:
        claim = _parsed(self._store.read_file(path) or b"")
        return (claim.get("owner"), claim.get("process")) == (self._owner, self._process)

    def _is_stale(self, key: Key, data: bytes) -> bool:
        """Whether the claim of somebody else stands for nobody any more."""
        now = time.monotonic()
        sight = self._sights.get(key)
        if sight is None or sight.data != data:
            sight = self._sights[key] = _Sight(data, now)
        claim = _parsed(data)
        if is_gone(claim.get("process")):
            return True
        stated = claim.get("stale_after_s")
        return now - sight.since > (stated if isinstance(stated, int | float) else self._stale_after_s)

    # The thread

    def _attend(self) -> None:
        """Remove, renew, look around, until the end."""
        renew_s = self._stale_after_s / 4
        look_s = min(renew_s, LOOK_AROUND_S)
        looked_at = time.monotonic()
        while not self._is_closed and self._is_on:
            self._wake.wait(look_s if self._is_watched else renew_s)
            self._wake.clear()
            self._carefully(self._remove)
            self._carefully(self._renew, renew_s)
            if self._is_watched and time.monotonic() - looked_at > look_s:
                self._carefully(self._look_around)
                looked_at = time.monotonic()

    def _remove(self) -> None:
        while self._leaving and self._is_on:
            with self._lock:  # so that nobody takes the claim while it is being removed
                if self._leaving:
                    key = next(iter(self._leaving))
                    if not self.has_company or self._is_ours(claim_path(*key)):
                        self._store.delete(claim_path(*key))
                    self._leaving.pop(key)

    def _renew(self, after_s: float) -> None:
        """Write every claim anew that is older; one that somebody took over is theirs."""
        for key in list(self._held):
            path = claim_path(*key)
            if time.monotonic() - self._held.get(key, time.monotonic()) < after_s:
                continue
            data = self._claim()
            with self._lock:
                if key not in self._held:
                    continue
                if not self._is_ours(path):
                    self._met()
                    logger.warning("another run took over %s %s: it is made twice, which does no harm", *key)
                    del self._held[key]
                    continue
                self._store.write_bytes(path, data)
                self._held[key] = time.monotonic()

    def _look_around(self) -> None:
        """Whether somebody else claims anything."""
        found = set(self._store.list("claims"))
        with self._lock:
            ours = {claim_path(*key) for key in (*self._held, *self._leaving)}
        self.has_company = False
        if any(not self._is_ours(path) for path in sorted(found - ours)):
            self._met()

    def _met(self) -> None:
        """There is another run: be careful from now on."""
        self._is_watched, self.has_company = False, True

    def _sweep(self) -> None:
        """Remove what killed runs left: a claim on a record that exists stands for nobody."""
        for path in self._store.list("claims"):
            kind, _, name = path.removeprefix("claims/").partition("/")
            if self._is_on and self._store.has_record(kind, name.removesuffix(".json")):
                self._store.delete(path)

    def _carefully(self, action: Callable[..., None], *arguments: float) -> None:
        try:
            action(*arguments)
        except (OSError, MlpruneError) as err:
            self._give_up(err)

    def _give_up(self, err: Exception) -> None:
        """Go on without claims: they spare work, and are not worth a run."""
        if self._is_on:
            logger.warning("no claims can be written: another run in this store may repeat our work (%s)", err)
        self._is_on = False


def _parsed(data: bytes) -> JsonObject:
    """The content of a claim; empty if it is none, as while it is being written."""
    try:
        claim = json.loads(data)
    except ValueError:
        return {}
    return claim if isinstance(claim, dict) else {}
