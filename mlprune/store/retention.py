"""Retention: the files of masks, the rules that keep them, and the retirement of the others.

Retirement of files: mark their groups, make sure that no run uses the store, and remove them.

A process may be killed at any time. The markers are written first, so files that are missing afterwards are known to be
retired. A run claims the store before it looks for markers, and this process looks for claims after it has written the
markers. So either this process finds the run and removes its markers, or the run finds the markers.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import IntEnum

from mlprune.errors import StoreError
from mlprune.json_values import JsonObject, as_str
from mlprune.store.backend.local_files import FileInfo
from mlprune.store.claims import Claims, claim_path
from mlprune.store.garbage import in_use, require_no_claims, store_time
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record
from mlprune.store.retired import group_of, marker_path, retired_groups, write_marker
from mlprune.store.store import REQUESTS_AT_ONCE, Store
from mlprune.timestamps import timestamp

FOLLOWERS = ("mask_blocks",)
"""Kinds of records that list files of an ordering, and are made again with it."""
STATISTICS = ("statistics", "feature_sums", "gram_matrices", "regional_gradients")
"""Kinds of records with the statistics that masks are made from."""
DAY_S = 24 * 3600.0
CLAIM = ("retention", "gc")
"""Key of the claim of a process that retires files: only one does so at a time."""


class Remaking(IntEnum):
    """How files are made again, the cheapest first."""

    FROM_STATISTICS = 1
    """From stored statistics, or from other masks, and the weights of the base model, without running it."""
    WITH_THE_MODEL = 2
    """By a sweep, which runs the model."""


REMAKING_TEXTS: Mapping[Remaking, str] = {
    Remaking.FROM_STATISTICS: "made again from stored statistics",
    Remaking.WITH_THE_MODEL: "made again by running the model",
}


@dataclass(frozen=True)
class MaskFiles:
    """The files of one ordering: masks, and changed weights and biases, and the statistics of a sweep.

    Or those of one record of a kind with `RecordKind.retires`, which no variant reads.
    """

    ordering_id: str
    """Or the id of the other record."""
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
    """Return the files of all orderings that have some left, in the order of their ids, then those of other kinds."""
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
    return [*found, *_files_of_other_kinds(store)]


def _files_of_other_kinds(store: Store) -> Iterator[MaskFiles]:
    """Yield the files of the records whose kind has `retires`."""
    for kind in (name for name, entry in RECORD_KINDS.items() if entry.retires):
        present = {file.path: file for folder in RECORD_KINDS[kind].folders for file in store.files(folder)}
        for record in store.records(kind):
            files = tuple(present[one.path] for one in record.artefacts if one.path in present)
            if files:
                age_s = time.time() - max(file.modified_at for file in files)
                is_complete = len(files) == len(record.artefacts)
                yield MaskFiles(record.id, (), files, age_s, Remaking.WITH_THE_MODEL, _is_current(record), is_complete)


def _readers(store: Store, variants: Mapping[str, Record]) -> dict[str, list[str]]:
    """Return ordering or variant -> variants that read its files: composed, quantised, or with fewer tokens."""
    readers: dict[str, list[str]] = defaultdict(list)
    for record in store.records("mask_compositions"):
        readers[record.parent("ordering")].append(record.parent("variant"))
    for record in variants.values():
        for role in ("unquantised", "all_tokens"):
            if (parent := record.optional_parent(role)) is not None:
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
    if any(record is None or _runs_the_model(record.parameters) for record in variants):
        return Remaking.WITH_THE_MODEL
    for role, parents in ordering.parents.items():
        kind = "statistics" if role == "contrast_statistics" else role
        for parent in [parents] if isinstance(parents, str) else parents:
            if kind in STATISTICS and not has_statistics(kind, parent):
                return Remaking.WITH_THE_MODEL
    return Remaking.FROM_STATISTICS


def _runs_the_model(parameters: JsonObject) -> bool:
    """Whether a variant with some parameters was made by running the model."""
    return parameters.get("propagation") == "sequential" or bool(
        {"reconstruct", "recover", "quantise"} & parameters.keys()
    )


def _is_current(record: Record) -> bool:
    return record.step_version == RECORD_KINDS[record.kind].version


@dataclass(frozen=True)
class Ranking:
    """What is known of variants besides their files."""

    reasons: Mapping[str, str]
    """Variant -> why its files are kept, such as `rank 3 of 40 by accuracy on dev: xnli`."""
    ranks: Mapping[str, int]
    """Variant -> its best rank by the metric, from 1; variants that are not ranked are missing."""


@dataclass(frozen=True)
class RetentionRules:
    """What the user asks for."""

    keep_days: float = 0.0
    """Files written in the last days are kept."""
    quota_bytes: int | None = None
    """Most bytes of the whole store: files are retired until it is met; None to retire everything that is not kept."""
    requires_rank: bool = False
    """Whether variants without a rank are kept, because they cannot be compared."""


@dataclass(frozen=True)
class Decision:
    """What happens to the files of one ordering."""

    masks: MaskFiles
    is_retired: bool
    reason: str
    rank: int | None = None
    """Best rank of its variants."""


def decide(
    masks: Iterable[MaskFiles], ranking: Ranking, rules: RetentionRules, *, store_bytes: int = 0
) -> list[Decision]:
    """Decide for every ordering, in the order in which files are retired, then those that are kept.

    First go files that are made again from stored statistics, then those of sweeps. Among equals, the lowest rank goes
    first, then the oldest file.

    Args:
        store_bytes: size of the store, for a quota.
    """
    decisions = [_decide(one, ranking, rules) for one in masks]
    decisions.sort(key=lambda one: (not one.is_retired, one.masks.remaking, -(one.rank or 0), -one.masks.age_s))
    if rules.quota_bytes is None:
        return decisions
    remaining = store_bytes
    limited = []
    for decision in decisions:
        if decision.is_retired and remaining <= rules.quota_bytes:
            decision = replace(decision, is_retired=False, reason="the quota is met without it")  # noqa: PLW2901
        remaining -= decision.masks.n_bytes if decision.is_retired else 0
        limited.append(decision)
    return limited


def _decide(masks: MaskFiles, ranking: Ranking, rules: RetentionRules) -> Decision:
    ranks = [ranking.ranks[variant_id] for variant_id in masks.variant_ids if variant_id in ranking.ranks]
    rank = min(ranks, default=None)
    reason = _reason_to_keep(masks, ranking, rules)
    if reason is not None:
        return Decision(masks, is_retired=False, reason=reason, rank=rank)
    return Decision(masks, is_retired=True, reason=REMAKING_TEXTS[masks.remaking], rank=rank)


def _reason_to_keep(masks: MaskFiles, ranking: Ranking, rules: RetentionRules) -> str | None:
    """Return why files are kept; None if nothing keeps them."""
    if not masks.is_current:
        return "made by an earlier version: cannot be made again"
    for variant_id in masks.variant_ids:
        if variant_id in ranking.reasons:
            return ranking.reasons[variant_id]
    if masks.age_s < rules.keep_days * DAY_S:
        return f"written less than {rules.keep_days:g} days ago"
    is_ranked = any(variant_id in ranking.ranks for variant_id in masks.variant_ids)
    if rules.requires_rank and masks.variant_ids and not is_ranked:
        return "no value on dev: cannot be compared"
    return None


def retire(store: Store, decisions: Sequence[Decision]) -> int:
    """Retire the files that were decided on; return how many bytes were removed.

    The same call completes an interrupted one. Markers of kept files that all exist again are removed.

    Raises:
        StoreError: a run or another such command uses the store, or the folder is read-only. Nothing is removed.
    """
    store.require_writable()
    retired = [decision for decision in decisions if decision.is_retired]
    with Claims(store, f"mlprune store gc, process {os.getpid()} of {os.uname().nodename}") as claims:
        _require_unused(store, claims)
        marked = _mark(store, retired)
        try:
            _require_unused(store, claims)
        except StoreError:
            _remove_markers(store, marked)
            raise
        _remove_markers(store, _outdated_markers(store, decisions))
        _delete(store, [file.path for decision in retired for file in decision.masks.files])
    return sum(decision.masks.n_bytes for decision in retired)


def _require_unused(store: Store, claims: Claims) -> None:
    """Check that no other process has a claim in the store.

    Raises:
        StoreError: one has.
    """
    require_no_claims(store, now=store_time(store), own=claim_path(*CLAIM))
    if not claims.take(CLAIM):
        raise in_use(store, got="another mlprune store gc")


def _mark(store: Store, retired: Iterable[Decision]) -> list[str]:
    """Write the markers that do not exist; return their groups."""
    existing, now = retired_groups(store), timestamp()
    reasons = {group: one.reason for one in retired for group in one.masks.groups if group not in existing}
    for group, reason in reasons.items():
        write_marker(store, group, retired_at=now, reason=reason)
    return list(reasons)


def _outdated_markers(store: Store, decisions: Iterable[Decision]) -> list[str]:
    """Return the groups of kept files that have a marker although all files exist."""
    existing = retired_groups(store)
    kept = [one.masks for one in decisions if not one.is_retired and one.masks.is_complete]
    return [group for masks in kept for group in masks.groups if group in existing]


def _delete(store: Store, paths: Sequence[str]) -> None:
    """Remove files in their order; an object store gets parallel requests."""
    if store.is_local:
        for path in paths:
            store.delete(path)
        return
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        for start in range(0, len(paths), REQUESTS_AT_ONCE):
            list(pool.map(store.delete, paths[start : start + REQUESTS_AT_ONCE]))


def _remove_markers(store: Store, groups: Iterable[str]) -> None:
    for group in groups:
        store.delete(marker_path(group))
