"""Retirement of files: mark their groups, make sure that no run uses the store, and remove them.

A process may be killed at any time. The markers are written first, so files that are missing afterwards are known to be
retired. A run claims the store before it looks for markers, and this process looks for claims after it has written the
markers. So either this process finds the run and removes its markers, or the run finds the markers.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from mlprune.errors import StoreError
from mlprune.store.claims import Claims
from mlprune.store.claims.claims import claim_path
from mlprune.store.garbage import in_use, require_no_claims, store_time
from mlprune.store.retention.rules import Decision
from mlprune.store.retired import marker_path, retired_groups, write_marker
from mlprune.store.store import REQUESTS_AT_ONCE, Store
from mlprune.timestamps import timestamp

CLAIM = ("retention", "gc")
"""Key of the claim of a process that retires files: only one does so at a time."""


def retire(store: Store, decisions: Sequence[Decision]) -> int:
    """Retire the files that were decided on; return how many bytes were removed.

    The same call completes one that was interrupted. Markers of kept files that all exist again are removed.

    Raises:
        StoreError: a run or another such command uses the store, or the folder is read-only. Nothing is removed.
    """
    store.require_writable()
    retired = [decision for decision in decisions if decision.is_retired]
    with Claims(store, f"mlprune gc, process {os.getpid()} of {os.uname().nodename}") as claims:
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
        raise in_use(store, got="another mlprune gc")


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
