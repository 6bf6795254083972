"""Claims of other runs as this process last read them: their owners, and whether they are stale."""

import time
from dataclasses import dataclass

from mlprune.json_values import JsonObject, parse_json
from mlprune.processes.process_identity import is_gone, is_of_ended_process
from mlprune.store.store import Store

Key = tuple[str, str]
"""(kind, id) of a record."""
CLOCK = "claims/clock/"
"""Folder of the files by which the garbage collection reads the store's clock."""


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
