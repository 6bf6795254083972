"""Record listing: the record files and segments below `records/` of a store, by their paths alone."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RecordListing:
    """Names of record files and segments, none of which has been read."""

    record_files: Mapping[str, frozenset[str]]
    """Kind -> ids of the records that have a file of their own."""
    segments: Mapping[str, tuple[str, ...]]
    """Kind -> paths of its segments and of their markers."""

    @property
    def sha256(self) -> str:
        """SHA-256 over all names, in hex. While it stays the same, no record was added or removed."""
        sha256 = hashlib.sha256()
        for kind in sorted(self.record_files.keys() | self.segments.keys()):
            sha256.update("\n".join([kind, *sorted(self.record_files.get(kind, ()))]).encode())
            sha256.update("\n".join(["", *sorted(self.segments.get(kind, ())), ""]).encode())
        return sha256.hexdigest()


def record_listing(paths: Iterable[str], *, kinds: Iterable[str] = ()) -> RecordListing:
    """Sort the paths of the files below `records/` by kind.

    Args:
        paths: relative to the store; any file that is not a record, segment or marker is skipped.
        kinds: get an entry in `segments` even if they have no file.
    """
    record_files: dict[str, set[str]] = {}
    segments: dict[str, list[str]] = {kind: [] for kind in kinds}
    for path in paths:
        parts = path.split("/")
        if len(parts) == 3 and path.endswith(".json"):
            record_files.setdefault(parts[1], set()).add(parts[2].removesuffix(".json"))
        elif len(parts) == 4 and parts[2] == "segments":
            segments.setdefault(parts[1], []).append(path)
    return RecordListing(
        record_files={kind: frozenset(ids) for kind, ids in record_files.items()},
        segments={kind: tuple(files) for kind, files in segments.items()},
    )
