"""Files of masks: the groups of files of every ordering, with their size and age, and the variants that need them."""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from mlprune.json_values import as_str
from mlprune.store.backend.local_files import FileInfo
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record
from mlprune.store.retired import group_of
from mlprune.store.store import Store

FOLLOWERS = ("mask_blocks",)
"""Kinds of records that list files of an ordering, and are made again with it."""
STATISTICS = ("statistics", "feature_sums", "gram_matrices", "regional_gradients", "loss_gradients")
"""Kinds of records with the statistics that masks are made from."""


class Remaking(IntEnum):
    """How files are made again, the cheapest first."""

    FROM_STATISTICS = 1
    """From stored statistics, or from other masks, and the weights of the base model, without running it."""
    WITH_THE_MODEL = 2
    """By a sweep, which runs the model."""


@dataclass(frozen=True)
class MaskFiles:
    """The files of one ordering: masks, and changed weights and biases, and the statistics of a sweep."""

    ordering_id: str
    variant_ids: tuple[str, ...]
    """All variants that read the files: those of the ordering, those composed from it, and quantised ones of these."""
    files: tuple[FileInfo, ...]
    """The files that exist and that belong to no other ordering."""
    age_s: float
    """Time since the newest file was written, by the clock of this machine."""
    remaking: Remaking
    is_current: bool
    """Whether this version of the program makes the same files again."""
    is_complete: bool
    """Whether no file is missing."""

    @property
    def n_bytes(self) -> int:
        """Size of the files."""
        return sum(file.n_bytes for file in self.files)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of the files."""
        return tuple(dict.fromkeys(group_of(file.path) for file in self.files))


def mask_files(store: Store) -> list[MaskFiles]:
    """Return the files of all orderings that have some left, in the order of their ids."""
    orderings = list(store.records("masks"))
    variants = {record.id: record for record in store.records("variants")}
    readers = _readers(store, variants)
    shared = _shared_groups(store, orderings)
    folders = sorted({artefact.path.partition("/")[0] for record in orderings for artefact in record.artefacts})
    present = {file.path: file for folder in folders for file in store.files(folder)}
    has_statistics = _StatisticsCheck(store)
    found = []
    for record in orderings:
        owned = [artefact.path for artefact in record.artefacts if group_of(artefact.path) not in shared]
        files = tuple(present[path] for path in owned if path in present)
        if not files:
            continue
        of_ordering = [as_str(row["variant_id"]) for row in record.rows["ordering_variants"]]
        found.append(
            MaskFiles(
                record.id,
                _all_readers([*of_ordering, *readers.get(record.id, ())], readers),
                files,
                time.time() - max(file.modified_at for file in files),
                _remaking(record, [variants.get(key) for key in of_ordering], has_statistics),
                all(one is not None and _is_current(one) for one in (record, *map(variants.get, of_ordering))),
                len(files) == len(owned),
            )
        )
    return found


def _readers(store: Store, variants: Mapping[str, Record]) -> dict[str, list[str]]:
    """Return ordering or variant -> variants that read its files: composed ones, and quantised ones."""
    readers: dict[str, list[str]] = defaultdict(list)
    for record in store.records("mask_compositions"):
        readers[record.parent("ordering")].append(record.parent("variant"))
    for record in variants.values():
        if (parent := record.optional_parent("unquantised")) is not None:
            readers[parent].append(record.id)
    return readers


def _all_readers(variant_ids: list[str], readers: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Return variants, and those that read their files."""
    found: dict[str, None] = {}
    waiting = list(variant_ids)
    while waiting:
        variant_id = waiting.pop(0)
        if variant_id not in found:
            found[variant_id] = None
            waiting += readers.get(variant_id, ())
    return tuple(found)


def _shared_groups(store: Store, orderings: list[Record]) -> set[str]:
    """Return the groups of orderings that other records list as well, which are never retired."""
    owners: dict[str, str] = {}
    shared: set[str] = set()
    for record in orderings:
        for group in dict.fromkeys(group_of(artefact.path) for artefact in record.artefacts):
            if owners.setdefault(group, record.id) != record.id:
                shared.add(group)
    folders = {group.partition("/")[0] for group in owners}
    others = [kind for kind, entry in RECORD_KINDS.items() if folders.intersection(entry.folders)]
    for kind in others:
        if kind not in ("masks", *FOLLOWERS):
            shared.update(group_of(artefact.path) for record in store.records(kind) for artefact in record.artefacts)
    return shared


class _StatisticsCheck:
    """Whether statistics are stored, each looked up once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_stored: dict[tuple[str, str], bool] = {}

    def __call__(self, kind: str, record_id: str) -> bool:
        key = (kind, record_id)
        if key not in self._is_stored:
            record = self._store.read_record(*key)
            self._is_stored[key] = record is not None and self._store.is_complete(record)
        return self._is_stored[key]


def _remaking(ordering: Record, variants: list[Record | None], has_statistics: _StatisticsCheck) -> Remaking:
    """Return how the files of an ordering are made again."""
    if any(record is None or record.parameters.get("propagation") == "sequential" for record in variants):
        return Remaking.WITH_THE_MODEL
    for role, parents in ordering.parents.items():
        kind = "statistics" if role == "contrast_statistics" else role
        for parent in [parents] if isinstance(parents, str) else parents:
            if kind in STATISTICS and not has_statistics(kind, parent):
                return Remaking.WITH_THE_MODEL
    return Remaking.FROM_STATISTICS


def _is_current(record: Record) -> bool:
    return record.step_version == RECORD_KINDS[record.kind].version
