"""What of a plan is left to do: a job is done when its records exist and their artefacts lie there."""

from collections.abc import Iterable

from mlprune.steps.job import Job, RecordKey
from mlprune.store.store import Store


def pending_jobs(jobs: Iterable[Job], store: Store, *, repair: bool = False) -> list[Job]:
    """The jobs that have to run, in the plan's order.

    A job is left to do if a record of it is missing, if an artefact is missing or has another size than its record
    says, or if a job it depends on is left to do. Of the latter, sound records that other recipes share stay.

    Args:
        repair: move records whose artefacts are damaged, and those that depend on them, to the quarantine, so that
            their work is done again.
    """
    listed = [(job, job.makes, job.needs) for job in jobs]  # ids are hashes: asked for once
    present = set(store.record_names())
    survey = _Survey(store, (key for _, makes, _ in listed for key in makes if key in present))
    pending: list[Job] = []
    unmade: set[RecordKey] = set()
    for job, makes, needs in listed:
        lacking = [key for key in needs if key in unmade]
        if lacking and repair and any(key in present for key in makes):
            lacking = [key for key in lacking if not _made_meanwhile(store, key)]
        dirty = bool(lacking)
        own = set(makes) - set(job.shared) if dirty else set()
        if job.holder is not None and job.holder in present and not survey.is_sound(job.holder):
            own = set(makes)
        stale = [key for key in makes if key in present and (key in own or not survey.is_sound(key))]
        if repair:
            for key in stale:
                record = store.read_record(*key)
                if record is not None:
                    store.quarantine(record)
        left = [key for key in makes if key in stale or key not in present]
        if dirty or left:
            pending.append(job)
            unmade.update(left)
    return pending


class _Survey:
    """Which records can be read and have artefacts of the right size: each is looked at once.

    An object store is asked for many records at a time, and for the sizes of files by listing their folders.
    """

    def __init__(self, store: Store, keys: Iterable[RecordKey]) -> None:
        self._store = store
        self._records = {} if store.is_local else store.read_records(keys)
        self._sizes: dict[str, dict[str, int]] = {}
        self._is_sound: dict[RecordKey, bool] = {}

    def is_sound(self, key: RecordKey) -> bool:
        """Whether a record can be read, and its artefacts are there with their sizes."""
        if key not in self._is_sound:
            self._is_sound[key] = self._look_at(key)
        return self._is_sound[key]

    def _look_at(self, key: RecordKey) -> bool:
        if self._store.is_local:
            return _is_sound(self._store, key)
        record = self._records.get(key)
        return record is not None and all(self._size(one.path) == one.n_bytes for one in record.artefacts)

    def _size(self, path: str) -> int | None:
        folder = path.partition("/")[0]
        if folder not in self._sizes:
            self._sizes[folder] = self._store.sizes(folder)
        return self._sizes[folder].get(path)


def _made_meanwhile(store: Store, key: RecordKey) -> bool:
    """Whether another run has made a record since the listing: then what needs it is sound, and must not be moved."""
    return store.has_record(*key) and _is_sound(store, key)


def _is_sound(store: Store, key: RecordKey) -> bool:
    record = store.read_record(*key)
    return record is not None and store.is_complete(record)
