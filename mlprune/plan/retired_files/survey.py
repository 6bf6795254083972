"""Survey of records: whether they can be read and have their files, apart from files that were retired."""

from collections.abc import Collection, Iterable
from functools import cached_property

from mlprune.steps.job import RecordKey
from mlprune.store.records import Record
from mlprune.store.retired import only_retired, retired_groups
from mlprune.store.store import Store

NONE_RETIRED: frozenset[str] = frozenset()


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
