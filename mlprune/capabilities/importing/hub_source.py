"""Fetch a published checkpoint from a hub, with the weights in one format: the first known one."""

from collections.abc import Callable
from pathlib import Path

from mlprune.capabilities.importing.import_folder import require_space
from mlprune.capabilities.importing.sources.formats import WEIGHT_FORMATS
from mlprune.capabilities.importing.sources.weight_format import weight_map
from mlprune.errors import HubError, ModelError
from mlprune.hub import HubFiles, cache_folder, list_files, snapshot
from mlprune.models.checkpoint.content_hashes import TOKENIZER_FILES
from mlprune.models.import_record import COPIED_PATTERNS, HubCheckpoint, ImportRecord, Origin, read_import_record
from mlprune.vocabulary import DtypeName

SMALL_FILES = ("config.json", *COPIED_PATTERNS, *TOKENIZER_FILES)
"""Patterns of all files except weights."""
INDEX_ENDING = ".index.json"


def find_source(hub_id: str, revision: str) -> HubCheckpoint:
    """Choose the files of a repository that an import reads; only an index of weight files is downloaded.

    Raises:
        HubError: the hub has no such repository or revision, or it cannot be reached.
        ModelError: the repository has no weights in a known format.
    """
    files = list_files(hub_id, kind="model", revision=revision)
    origin = Origin(hub_id, revision, files.commit)
    for name, weight_format in WEIGHT_FORMATS.items():
        matching = tuple(path for path in files.matching(weight_format.hub_patterns) if "/" not in path)
        if matching:
            weights = _indexed(matching, files)
            return HubCheckpoint(origin, files, name, files.matching(SMALL_FILES), weights)
    raise ModelError(
        "the repository has no weights that can be imported; another revision may have some",
        name=hub_id,
        revision=revision,
        expected={name: weight_format.summary for name, weight_format in WEIGHT_FORMATS.items()},
        got=sorted(files.sizes),
    )


def fetch_source(
    hub_id: str, revision: str, *, out: Path | None = None, report: Callable[[str], None] | None = None
) -> tuple[Path, Origin]:
    """Download a checkpoint to the hub's cache; returns its folder and its origin.

    An interrupted download resumes. Without a hub, a complete download in the cache is used.

    Args:
        out: where the import will write; its disk needs space, too.
        report: receives lines for the user.
    Raises:
        HubError: the hub has no such repository or revision, or it cannot be reached.
        ModelError: the repository has no weights in a known format, or a disk is too small.
    """
    try:
        source = find_source(hub_id, revision)
    except HubError as err:
        cached = _cached(hub_id, revision)
        if cached is None:
            raise
        if report is not None:
            report(f"the download in the cache is used: {err.message} ({err.context.get('reason')})")
        return cached
    if report is not None:
        report(source.describe())
    check_space(source, out)
    folder = snapshot(hub_id, kind="model", revision=revision, files=source.wanted)  # the cache notes its commit
    if folder.name != source.origin.commit:  # the revision was moved after it was listed
        folder = snapshot(hub_id, kind="model", revision=source.origin.commit, files=source.wanted)
    return folder, source.origin


def imported_before(hub_id: str, revision: str, out: Path, *, dtype: DtypeName | None) -> ImportRecord | None:
    """Return the record of a folder that has this import already, so that nothing has to be downloaded.

    Without a hub, the revision is assumed to be the commit that was imported.
    """
    record = read_import_record(out) if out.is_dir() else None
    origin = record.origin if record is not None else None
    if record is None or origin is None or origin.hub_id != hub_id or record.dtype != dtype:
        return None
    try:
        commit = list_files(hub_id, kind="model", revision=revision).commit
    except HubError:
        commit = origin.commit if revision in (origin.revision, origin.commit) else ""
    return record if commit == origin.commit else None


def check_space(source: HubCheckpoint, out: Path | None) -> None:
    """Check that the disks of the cache and of the imported model have room.

    Raises:
        ModelError: one of them is too small.
    """
    needed: dict[int, tuple[Path, int]] = {}
    downloads = source.files.n_bytes(source.missing)
    for folder, n_bytes in ((cache_folder(), downloads), (out, source.written_bytes)):
        if folder is not None and n_bytes:
            existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
            device = existing.stat().st_dev
            needed[device] = (existing, n_bytes + needed.get(device, (existing, 0))[1])
    for existing, n_bytes in needed.values():
        require_space(existing, n_bytes, purpose="download and the import")


def _indexed(matching: tuple[str, ...], files: HubFiles) -> tuple[str, ...]:
    """Return the index and the files that it names; without an index, the matching files."""
    indexes = [path for path in matching if path.endswith(INDEX_ENDING)]
    if not indexes:
        return matching
    folder = snapshot(files.name, kind="model", revision=files.commit, files=indexes[:1])
    named = sorted(set(weight_map(folder / indexes[0]).values()))
    if missing := [name for name in named if name not in files.sizes]:
        message = "files that a weight index names are not in the repository"
        raise ModelError(message, name=files.name, commit=files.commit, missing=missing)
    return (indexes[0], *named)


def _cached(hub_id: str, revision: str) -> tuple[Path, Origin] | None:
    """Return a download that is complete in the cache; None if there is none."""
    for weight_format in WEIGHT_FORMATS.values():
        files = [*SMALL_FILES, *weight_format.hub_patterns]
        try:
            folder = snapshot(hub_id, kind="model", revision=revision, files=files, uses_network=False)
            is_complete = bool(weight_format.find(folder))
        except (HubError, ModelError):
            continue
        if is_complete:
            return folder, Origin(hub_id, revision, commit=folder.name)
    return None
