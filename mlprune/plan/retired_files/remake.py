"""Remaking of retired files: which of a plan's files are retired, which of them pending jobs read, and what to make."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlprune.counted import counted
from mlprune.errors import StoreError
from mlprune.plan.retired_files.survey import NONE_RETIRED, Survey
from mlprune.steps.job import Job, RecordKey
from mlprune.store.records import Artefact
from mlprune.store.retired import group_of, remake_command, remove_markers_of_complete
from mlprune.store.store import Store

WITHOUT_FILES = ("variants", "mask_compositions")
"""Kinds of records without files of their own: whoever reads one reads the files of the records that it depends on."""


@dataclass(frozen=True)
class Remake:
    """What a run makes again of the retired files of its recipe."""

    is_wanted: bool = False
    """Whether it makes any again; if not, a run that needs some is refused."""
    variants: tuple[str, ...] = ()
    """Ids of the variants whose files are made again, with everything that pending jobs need; empty for all files."""


NO_REMAKE = Remake()


def requested_remake(*, is_of_all: bool, variants: Sequence[str]) -> Remake:
    """Return what the options of a run ask for.

    Args:
        is_of_all: whether all retired files are made again; with `variants`, only theirs are.
        variants: ids or names.
    """
    return Remake(is_of_all or bool(variants), tuple(variants))


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
        """Return the retired groups that whoever reads some records needs, with those needed to make them again."""
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


def groups_to_remake(survey: RetiredSurvey, retired: RetiredFiles, remake: Remake, *, store: Store) -> frozenset[str]:
    """Return the retired groups that a run makes again.

    Raises:
        StoreError: pending jobs need retired files, and the run is not asked to make them again.
    """
    if not remake.is_wanted:
        require_present(retired, store=store)
        return NONE_RETIRED
    if not remake.variants:
        return frozenset(retired.files)
    return retired.needed | survey.groups_behind(("variants", variant_id) for variant_id in remake.variants)


def require_present(retired: RetiredFiles, *, store: Store) -> None:
    """Check that no pending job needs a retired file.

    Raises:
        StoreError: some do.
    """
    if retired.needed:
        raise StoreError(
            "files that this run needs were retired to save space",
            store=store.uri,
            got=f"{counted(len(retired.needed), 'group')} of files, such as {min(retired.needed)}",
            next=f"{remake_command(store.uri)} makes them again",
        )


def remove_outdated_markers(store: Store, retired: RetiredFiles) -> None:
    """Remove the markers of groups whose files all exist again."""
    groups = (*retired.files.values(), *retired.restored.values())
    remove_markers_of_complete(store, [file for files in groups for file in files])
