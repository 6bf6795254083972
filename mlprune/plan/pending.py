"""Pending jobs: the jobs of a plan without complete records and artefacts in the store.

Artefacts that were retired count as complete, unless the run makes them again.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import TypeAlias

from mlprune.plan.retired_files.survey import Survey
from mlprune.steps.job import Job, RecordKey
from mlprune.store.repair import copy_to_quarantine
from mlprune.store.store import Store
from mlprune.store.succession import quarantined_copies

FEW_JOBS = 500
"""Number of jobs up to which their records are asked for one by one."""
_KeysOfJob: TypeAlias = tuple[Job, tuple[RecordKey, ...], tuple[RecordKey, ...]]
"""A job with the records that it makes and needs."""


def pending_jobs(
    jobs: Iterable[Job],
    store: Store,
    *,
    repair: bool = False,
    remake: Collection[str] = (),
    lists_all: bool = True,
) -> list[Job]:
    """The jobs that have to run, in the order of the plan.

    A job is pending if one of its records is missing, or if an artefact is missing or does not have the recorded size.
    If a record that it needs is missing, it depends on whether an earlier version of that record is in quarantine:

    - Without one, the job is pending. Its sound records that other recipes also make are kept.
    - With one, its results stay. The new version is compared with the old one when it is written, and if they differ,
      everything computed from it is quarantined. Plan again after such a run.

    A job is also pending if one of its intermediate records is in quarantine and was not made again.

    Args:
        repair: quarantine records with damaged artefacts, so that their jobs run again. Records with retired artefacts
            stay in place and are copied to the quarantine, so that the new version is compared with them.
        remake: retired groups of files whose jobs have to run again.
        lists_all: whether to list all records, which names damaged ones; False for the few jobs of a batch of a search.
    """
    keys_of_jobs = [(job, job.makes, job.needs) for job in jobs]  # ids are hashes: computed once
    present = _present(keys_of_jobs, store, lists_all=lists_all)
    quarantined = quarantined_copies(store).keys()
    known, lost = present | quarantined, {key for key in quarantined if not store.has_record(*key)}
    survey = Survey(store, (key for _, makes, _ in keys_of_jobs for key in makes if key in present), remake=remake)
    pending: list[Job] = []
    unmade: set[RecordKey] = set()
    for job, makes, needs in keys_of_jobs:
        missing_needs = [key for key in needs if key in unmade]
        if missing_needs and repair and any(key in present for key in makes):
            missing_needs = [key for key in missing_needs if not _made_meanwhile(store, key)]
        has_new_needs = any(key not in known for key in missing_needs)
        outdated = set(makes) - set(job.also_made_elsewhere) if has_new_needs else set()
        files_record = job.artefact_record if job.artefact_record in present else None
        is_remade = files_record is not None and survey.is_remade(files_record)
        if files_record is not None and not survey.is_sound(files_record) and (files_record in makes or not is_remade):
            outdated = set(makes)
        stale = [key for key in makes if key in present and (key in outdated or not survey.is_sound(key))]
        for key in stale if repair else ():
            _set_aside(store, key, stays=is_remade or survey.is_remade(key))
        unfinished = [key for key in makes if key in stale or key not in present]
        if has_new_needs or unfinished or (lost and not lost.isdisjoint(job.intermediates)):
            pending.append(job)
            unmade.update(unfinished)
    return pending


def _present(keys_of_jobs: Sequence[_KeysOfJob], store: Store, *, lists_all: bool) -> set[RecordKey]:
    """Return the existing records, at least those that jobs make or whose files they have."""
    if lists_all or len(keys_of_jobs) > FEW_JOBS or not store.is_local:
        return set(store.record_names())
    keys = {key for job, makes, _ in keys_of_jobs for key in (*makes, job.artefact_record) if key is not None}
    return {key for key in keys if store.has_record(*key)}


def _set_aside(store: Store, key: RecordKey, *, stays: bool) -> None:
    """Move a record to the quarantine, or copy it there if it stays until it is replaced."""
    record = store.read_record(*key)
    if record is not None and stays:
        copy_to_quarantine(store, record)
    elif record is not None:
        store.quarantine(record)


def _made_meanwhile(store: Store, key: RecordKey) -> bool:
    """Whether another run has made a record since the listing. The records that depend on it are then sound."""
    return store.has_record(*key) and is_made(store, key)


def is_made(store: Store, key: RecordKey) -> bool:
    """Return whether a record is sound and all its artefacts exist with their sizes."""
    record = store.read_record(*key)
    return record is not None and store.is_complete(record)
