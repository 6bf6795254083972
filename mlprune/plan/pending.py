"""Pending jobs: the jobs of a plan without complete records and artefacts in the store."""

from collections.abc import Iterable

from mlprune.steps.job import Job, RecordKey
from mlprune.store.store import Store
from mlprune.store.succession import quarantined_copies


def pending_jobs(jobs: Iterable[Job], store: Store, *, repair: bool = False) -> list[Job]:
    """The jobs that have to run, in the order of the plan.

    A job is pending if one of its records is missing, or if an artefact is missing or does not have the recorded size.
    If a record that it needs is missing, it depends on whether an earlier version of that record is in quarantine:

    - Without one, the job is pending. Its sound records that other recipes also make are kept.
    - With one, its results stay. The new version is compared with the old one when it is written, and if they differ,
      everything computed from it is quarantined. Plan again after such a run.

    Args:
        repair: quarantine records with damaged artefacts, so that their jobs run again.
    """
    keys_of_jobs = [(job, job.makes, job.needs) for job in jobs]  # ids are hashes: computed once
    present = set(store.record_names())
    known = present | quarantined_copies(store).keys()
    survey = _Survey(store, (key for _, makes, _ in keys_of_jobs for key in makes if key in present))
    pending: list[Job] = []
    unmade: set[RecordKey] = set()
    for job, makes, needs in keys_of_jobs:
        missing_needs = [key for key in needs if key in unmade]
        if missing_needs and repair and any(key in present for key in makes):
            missing_needs = [key for key in missing_needs if not _made_meanwhile(store, key)]
        has_new_needs = any(key not in known for key in missing_needs)
        outdated = set(makes) - set(job.also_made_elsewhere) if has_new_needs else set()
        if (
            job.artefact_record is not None
            and job.artefact_record in present
            and not survey.is_sound(job.artefact_record)
        ):
            outdated = set(makes)
        stale = [key for key in makes if key in present and (key in outdated or not survey.is_sound(key))]
        if repair:
            for key in stale:
                record = store.read_record(*key)
                if record is not None:
                    store.quarantine(record)
        unfinished = [key for key in makes if key in stale or key not in present]
        if has_new_needs or unfinished:
            pending.append(job)
            unmade.update(unfinished)
    return pending


class _Survey:
    """Records that can be read and whose artefacts have the right size. Each record is examined once.

    An object store reads many records at a time, and lists folders to get the sizes of files.
    """

    def __init__(self, store: Store, keys: Iterable[RecordKey]) -> None:
        self._store = store
        self._records = {} if store.is_local else store.read_records(keys)
        self._sizes: dict[str, dict[str, int]] = {}
        self._is_sound: dict[RecordKey, bool] = {}

    def is_sound(self, key: RecordKey) -> bool:
        """Whether a record can be read and its artefacts exist with the right sizes."""
        if key not in self._is_sound:
            self._is_sound[key] = self._examine(key)
        return self._is_sound[key]

    def _examine(self, key: RecordKey) -> bool:
        if self._store.is_local:
            return _is_sound(self._store, key)
        record = self._records.get(key)
        return record is not None and all(
            self._size(artefact.path) == artefact.n_bytes for artefact in record.artefacts
        )

    def _size(self, path: str) -> int | None:
        folder = path.partition("/")[0]
        if folder not in self._sizes:
            self._sizes[folder] = self._store.sizes(folder)
        return self._sizes[folder].get(path)


def _made_meanwhile(store: Store, key: RecordKey) -> bool:
    """Whether another run has made a record since the listing. The records that depend on it are then sound."""
    return store.has_record(*key) and _is_sound(store, key)


def _is_sound(store: Store, key: RecordKey) -> bool:
    record = store.read_record(*key)
    return record is not None and store.is_complete(record)
