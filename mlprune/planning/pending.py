"""Pending jobs of a plan: those without complete records and artefacts in the store.

Artefacts that were retired count as complete, unless the run makes them again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from mlprune.counted import counted
from mlprune.errors import StoreError
from mlprune.steps.job import Job, RecordKey
from mlprune.store.records import Artefact, Record
from mlprune.store.repair import copy_to_quarantine
from mlprune.store.retired import group_of, only_retired, remake_command, remove_markers_of_complete, retired_groups
from mlprune.store.store import Store
from mlprune.store.succession import quarantined_copies

NONE_RETIRED: frozenset[str] = frozenset()
FEW_JOBS = 500
"""Number of jobs up to which their records are asked for one by one."""
_KeysOfJob: TypeAlias = tuple[Job, tuple[RecordKey, ...], tuple[RecordKey, ...]]
"""A job with the records that it makes and needs."""
WITHOUT_FILES = ("variants", "mask_compositions")
"""Kinds of records without files of their own. Their readers read the files of the records that they depend on."""


@dataclass(frozen=True)
class Remake:
    """What a run makes again of the retired files of its recipe."""

    is_wanted: bool = False
    """Whether it makes any again; if not, a run that needs some is refused."""
    variants: tuple[str, ...] = ()
    """Ids of the variants whose files are made again, with everything that pending jobs need; empty for all files."""


NO_REMAKE = Remake()


class ListedSizes:
    """Sizes of the artefacts of records, from listings of their folders, each of which is listed once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folders: dict[str, dict[str, int]] = {}

    def of(self, record: Record) -> list[int]:
        """Return the sizes of the artefacts of a record, -1 for each that does not exist."""
        return [self._size(artefact.path) for artefact in record.artefacts]

    def _size(self, path: str) -> int:
        folder = path.partition("/")[0]
        if folder not in self._folders:
            self._folders[folder] = self._store.sizes(folder)
        return self._folders[folder].get(path, -1)


class Survey:
    """Records of a store, each of which is examined once.

    An object store reads many records at a time, and lists folders to get the sizes of files.

    Args:
        keys: records that exist.
        remake: retired groups of files that are to be made again: a record with such a file is not sound.
    """

    def __init__(self, store: Store, keys: Iterable[RecordKey], *, remake: Collection[str] = ()) -> None:
        self._store = store
        self._records = {} if store.is_local else store.read_records(keys)
        self._remake = frozenset(remake)
        self._sizes = ListedSizes(store)
        self._missing: dict[RecordKey, frozenset[str] | None] = {}

    @cached_property
    def retired(self) -> frozenset[str]:
        """All retired groups of the store."""
        return retired_groups(self._store)

    def is_sound(self, key: RecordKey) -> bool:
        """Return whether a record can be read and every file has its size or is retired and stays so."""
        missing = self.missing_groups(key)
        return missing is not None and not missing & self._remake

    def is_remade(self, key: RecordKey) -> bool:
        """Return whether nothing but files that are to be made again makes a record unsound."""
        missing = self.missing_groups(key)
        return missing is not None and bool(missing & self._remake)

    def missing_groups(self, key: RecordKey) -> frozenset[str] | None:
        """Return the retired groups of the missing files of a record; None if it is damaged or does not exist."""
        if key not in self._missing:
            record = self.record(key)
            self._missing[key] = None if record is None else self._missing_of(record)
        return self._missing[key]

    def record(self, key: RecordKey) -> Record | None:
        """Return a record; None if it is damaged or does not exist."""
        return self._records[key] if key in self._records else self._store.read_record(*key)

    def _missing_of(self, record: Record) -> frozenset[str] | None:
        paths = [artefact.path for artefact in record.artefacts]
        sizes = self._store.sizes_of(paths) if self._store.is_local else self._sizes.of(record)
        if sizes == [artefact.n_bytes for artefact in record.artefacts]:
            return NONE_RETIRED
        return only_retired(record, sizes, groups=self.retired)


@dataclass(frozen=True)
class RetiredFiles:
    """Retired files of the jobs of a plan."""

    files: Mapping[str, tuple[Artefact, ...]] = field(default_factory=dict)
    """Group of which some files are missing -> all its files."""
    restored: Mapping[str, tuple[Artefact, ...]] = field(default_factory=dict)
    """Group that has a marker although no file is missing, after a run was killed -> all its files."""
    needed: frozenset[str] = NONE_RETIRED
    """Groups that pending jobs read."""

    @property
    def n_bytes(self) -> int:
        """Size of all files."""
        return sum(artefact.n_bytes for files in self.files.values() for artefact in files)


class RetiredSurvey:
    """The retired files of the jobs of a plan.

    Args:
        jobs: all jobs of the plan.
    """

    def __init__(self, jobs: Sequence[Job], store: Store) -> None:
        self._makers: dict[RecordKey, Job] = {key: job for job in jobs for key in job.makes}
        present = set(store.record_names())
        self._present = [key for key in self._makers if key in present]
        self._survey = Survey(store, self._present)

    def find(self, pending: Iterable[Job]) -> RetiredFiles:
        """Return the retired files, and which of them pending jobs read."""
        files: dict[str, dict[str, Artefact]] = {}
        incomplete = {group for key in self._present for group in self._survey.missing_groups(key) or ()}
        for key in self._present:
            record = self._survey.record(key)
            for artefact in record.artefacts if record is not None else ():
                if group_of(artefact.path) in self._survey.retired:
                    files.setdefault(group_of(artefact.path), {})[artefact.path] = artefact
        by_group = {group: tuple(files[group].values()) for group in sorted(files)}
        return RetiredFiles(
            {group: of_group for group, of_group in by_group.items() if group in incomplete},
            {group: of_group for group, of_group in by_group.items() if group not in incomplete},
            self.groups_behind(key for job in pending for key in job.needs),
        )

    def groups_behind(self, keys: Iterable[RecordKey]) -> frozenset[str]:
        """Return the retired groups that a job that reads some records needs, with those needed to make them again."""
        groups: dict[str, None] = {}
        seen: dict[RecordKey, None] = {}
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            maker = self._makers.get(key)
            if key in seen or maker is None:
                continue
            seen[key] = None
            missing = [group for made in maker.makes for group in self._survey.missing_groups(made) or ()]
            groups |= dict.fromkeys(missing)
            if missing or key[0] in WITHOUT_FILES:
                waiting += maker.needs
        return frozenset(groups)


@dataclass(frozen=True)
class PendingWork:
    """Pending jobs of a plan, and its retired files."""

    jobs: list[Job]
    retired: RetiredFiles = field(default_factory=RetiredFiles)
    groups: frozenset[str] = NONE_RETIRED
    """The retired groups that the jobs make again."""


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
            # what another run made since the listing has sound dependents
            missing_needs = [key for key in missing_needs if not (store.has_record(*key) and is_made(store, key))]
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


def is_made(store: Store, key: RecordKey) -> bool:
    """Return whether a record is sound and all its artefacts exist with their sizes."""
    record = store.read_record(*key)
    return record is not None and store.is_complete(record)


def requested_remake(*, is_of_all: bool, variants: Sequence[str]) -> Remake:
    """Return what the options of a run ask for.

    Args:
        is_of_all: whether all retired files are made again; with `variants`, only theirs are.
        variants: ids or names.
    """
    return Remake(is_of_all or bool(variants), tuple(variants))


def groups_to_remake(survey: RetiredSurvey, retired: RetiredFiles, remake: Remake, *, store: Store) -> frozenset[str]:
    """Return the retired groups that a run makes again.

    Raises:
        StoreError: pending jobs need retired files, and the run is not asked to make them again.
    """
    if retired.needed and not remake.is_wanted:
        raise StoreError(
            "files that this run needs were retired to save space",
            store=store.uri,
            got=f"{counted(len(retired.needed), 'group')} of files, such as {min(retired.needed)}",
            next=f"{remake_command(store.uri)} makes them again",
        )
    if not remake.is_wanted:
        return NONE_RETIRED
    if not remake.variants:
        return frozenset(retired.files)
    return retired.needed | survey.groups_behind(("variants", variant_id) for variant_id in remake.variants)


def remove_outdated_markers(store: Store, retired: RetiredFiles) -> None:
    """Remove the markers of groups whose files all exist again."""
    groups = (*retired.files.values(), *retired.restored.values())
    remove_markers_of_complete(store, [file for files in groups for file in files])


def pending_work(jobs: Sequence[Job], store: Store, remake: Remake = NO_REMAKE, *, repair: bool = False) -> PendingWork:
    """Return the jobs that have to run; see `pending_jobs`. Without retired files, it costs one more listing.

    Raises:
        StoreError: pending jobs need retired files, and `remake` asks for none.
    """
    if not retired_groups(store):
        return PendingWork(pending_jobs(jobs, store, repair=repair))
    survey = RetiredSurvey(jobs, store)
    pending = pending_jobs(jobs, store)
    retired = survey.find(pending)
    groups = groups_to_remake(survey, retired, remake, store=store)
    if repair or groups:
        pending = pending_jobs(jobs, store, repair=repair, remake=groups)
    return PendingWork(pending, retired, groups)


def find_retired(jobs: Sequence[Job], pending: Sequence[Job], store: Store) -> RetiredFiles:
    """Return the retired files of a plan, and which of them its pending jobs read."""
    return RetiredSurvey(jobs, store).find(pending) if retired_groups(store) else RetiredFiles()


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
