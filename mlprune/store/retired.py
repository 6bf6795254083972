"""Markers of retired files: a retention rule removed the files, and their records stay.

The files of one folder and one id are a group, such as `masks/0f3a...`, and are retired together. The marker
`retired/<folder>/<id>.json` is written before the first file is removed, and removed after the last one was made again.
While it exists, a missing file of its group is not damage. Only a regular file is a marker.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from mlprune.given_files import NOT_A_FILE
from mlprune.hashing import canonical_json
from mlprune.json_values import JsonObject, parse_json
from mlprune.store.records import Artefact, Record

FOLDER = "retired"


class MarkerFiles(Protocol):
    """The operations of a store that this module needs."""

    def sizes(self, folder: str) -> Collection[str]:
        """The paths of the regular files below a folder."""

    def read_file(self, path: str) -> bytes | None:
        """The content of a file, None if it does not exist."""

    def write(self, path: str, data: bytes) -> None:
        """Write a file whole."""

    def sizes_of(self, paths: Sequence[str]) -> Sequence[int]:
        """The sizes of files, -1 for each that does not exist."""

    def delete(self, path: str) -> None:
        """Remove a file if it exists."""


def group_of(path: str) -> str:
    """Return the group of an artefact: its folder and id, without block, part and file ending."""
    folder, _, name = path.partition("/")
    return f"{folder}/{name.partition('/')[0].partition('.')[0]}"


def marker_path(group: str) -> str:
    """Return the path of a group's marker, relative to the store."""
    return f"{FOLDER}/{group}.json"


def retired_groups(store: MarkerFiles) -> frozenset[str]:
    """Return the groups that have a marker; it costs one listing."""
    return frozenset(path.removeprefix(f"{FOLDER}/").removesuffix(".json") for path in store.sizes(FOLDER))


def write_marker(store: MarkerFiles, group: str, *, retired_at: str, reason: str) -> None:
    """Mark a group as retired, before its files are removed."""
    marker = {"retired_at": retired_at, "reason": reason}
    store.write(marker_path(group), (canonical_json(marker) + "\n").encode())


def read_marker(store: MarkerFiles, group: str) -> JsonObject | None:
    """Return when and why a group was retired; None if it is not retired. A damaged marker says neither."""
    try:
        data = store.read_file(marker_path(group))
    except OSError as err:
        if err.errno in NOT_A_FILE:
            return None
        raise
    if data is None:
        return None
    try:
        marker = parse_json(data)
    except ValueError:
        return {}
    return (
        {key: value for key, value in marker.items() if key in ("retired_at", "reason")}
        if isinstance(marker, dict)
        else {}
    )


def remake_command(uri: str) -> str:
    """Return the command that makes retired files of a store again."""
    return f"mlprune run RECIPE --remake --store {uri}"


def only_retired(record: Record, sizes: Iterable[int], *, groups: Collection[str]) -> frozenset[str] | None:
    """Return the groups of a record's missing files if all of its other files are complete; otherwise None.

    Args:
        sizes: of the record's artefacts, in their order; -1 for a missing one.
        groups: those with a marker.
    """
    found = list(sizes)
    if first_damaged(record, found, groups=groups) is not None:
        return None
    missing = (artefact for artefact, size in zip(record.artefacts, found, strict=True) if size == -1)
    return frozenset(group_of(artefact.path) for artefact in missing)


def first_damaged(record: Record, sizes: Iterable[int], *, groups: Collection[str]) -> str | None:
    """Return the path of the first file of a record that is missing or has another size, and was not retired.

    Args:
        sizes, groups: as for `only_retired`.
    """
    for artefact, size in zip(record.artefacts, sizes, strict=True):
        is_retired = size == -1 and group_of(artefact.path) in groups
        if size != artefact.n_bytes and not is_retired:
            return artefact.path
    return None


def remove_markers_of_complete(store: MarkerFiles, artefacts: Iterable[Artefact]) -> None:
    """Remove the markers of groups all of whose files exist again.

    Args:
        artefacts: all files of these groups.
    """
    by_group: dict[str, list[Artefact]] = {}
    for artefact in artefacts:
        by_group.setdefault(group_of(artefact.path), []).append(artefact)
    for group, files in by_group.items():
        sizes = store.sizes_of([*(file.path for file in files), marker_path(group)])
        if list(sizes[:-1]) == [file.n_bytes for file in files] and sizes[-1] >= 0:
            store.delete(marker_path(group))
