"""What lies below `records/` of a store, as one listing tells it: records that are files of their own, and segments."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RecordListing:
    """Names only: nothing of it has been read."""

    own: Mapping[str, frozenset[str]]
    """Kind -> ids of the records that are files of their own."""
    segments: Mapping[str, tuple[str, ...]]
    """Kind -> paths of its segments and of the markers beside them."""

    @property
    def sha256(self) -> str:
        """SHA-256 over all names, in hex: as long as it stays, no record has come and none has gone."""
        found = hashlib.sha256()
        for kind in sorted(self.own.keys() | self.segments.keys()):
            found.update("\n".join([kind, *sorted(self.own.get(kind, ()))]).encode())
            found.update("\n".join(["", *sorted(self.segments.get(kind, ())), ""]).encode())
        return found.hexdigest()


def record_listing(paths: Iterable[str], *, kinds: Iterable[str] = ()) -> RecordListing:
    """Sort the paths of the files below `records/`.

    Args:
        paths: relative to the store; what is neither a record, a segment nor a marker is passed over.
        kinds: have an entry even if there is no file of theirs.
    """
    own: dict[str, set[str]] = {}
    segments: dict[str, list[str]] = {kind: [] for kind in kinds}
    for path in paths:
        parts = path.split("/")
        if len(parts) == 3 and path.endswith(".json"):
            own.setdefault(parts[1], set()).add(parts[2].removesuffix(".json"))
        elif len(parts) == 4 and parts[2] == "segments":
            segments.setdefault(parts[1], []).append(path)
    return RecordListing(
        own={kind: frozenset(ids) for kind, ids in own.items()},
        segments={kind: tuple(found) for kind, found in segments.items()},
    )
