"""Retirement: markers before files, nothing while a run uses the store, and no loss at any interruption."""

from collections.abc import Callable

import pytest

from mlprune.errors import StoreError
from mlprune.store.claims import Claims
from mlprune.store.records import Record
from mlprune.store.retention import CLAIM, Decision, mask_files, retire
from mlprune.store.retired import only_retired, retired_groups, write_marker
from mlprune.store.store import Store
from tests.ended_processes import ended_process
from tests.mask_records import write_ordering, write_variant


def decisions(store: Store, *, is_retired: bool = True) -> list[Decision]:
    return [Decision(masks, is_retired, "space") for masks in mask_files(store)]


def is_accounted_for(store: Store, record: Record) -> bool:
    sizes = store.sizes_of([artefact.path for artefact in record.artefacts])
    return only_retired(record, sizes, groups=retired_groups(store)) is not None


def test_files_go_and_their_markers_stay(store: Store) -> None:
    ordering = write_ordering(store, write_variant(store, "one"))
    assert retire(store, decisions(store)) == 10
    assert store.list("masks") == store.list("weights") == []
    assert is_accounted_for(store, ordering)
    assert store.list("claims") == []
    assert mask_files(store) == []


def test_markers_of_kept_files_that_all_exist_are_removed(local: Store) -> None:
    variant = write_variant(local, "one")
    ordering = write_ordering(local, variant)
    write_marker(local, f"masks/{variant.id}", retired_at="", reason="")
    assert retire(local, decisions(local, is_retired=False)) == 0
    assert retired_groups(local) == frozenset()
    assert local.is_complete(ordering)


def test_nothing_happens_while_a_run_uses_the_store(store: Store) -> None:
    ordering = write_ordering(store, write_variant(store, "one"))
    wanted = decisions(store)
    with Claims(store, "a run") as claims:
        claims.take(("runs", "run-1"))
        with pytest.raises(StoreError):
            retire(store, wanted)
    assert store.is_complete(ordering)
    assert store.list("retired") == []


def test_a_run_that_starts_while_the_markers_are_written_keeps_its_files(
    local: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordering = write_ordering(local, write_variant(local, "one"))
    wanted = decisions(local)
    with Claims(local, "a run") as claims:
        original = Store.write

        def write(self: Store, path: str, data: bytes) -> None:
            original(self, path, data)
            if path.startswith("retired/"):
                claims.take(("runs", "run-1"))

        monkeypatch.setattr(Store, "write", write)
        with pytest.raises(StoreError):
            retire(local, wanted)
    assert local.is_complete(ordering)
    assert local.list("retired") == []


def test_two_retirements_exclude_each_other_and_a_dead_one_does_not(local: Store) -> None:
    write_ordering(local, write_variant(local, "one"))
    wanted = decisions(local)
    with Claims(local, "another gc") as claims:
        claims.take(CLAIM)
        with pytest.raises(StoreError):
            retire(local, wanted)
    local.write_bytes("claims/retention/gc.json", f'{{"owner": "x", "process": "{ended_process()}"}}'.encode())
    assert retire(local, wanted) == 10


@pytest.mark.parametrize("n_operations", range(5))
def test_an_interruption_loses_nothing_and_the_same_call_completes_it(
    local: Store, monkeypatch: pytest.MonkeyPatch, n_operations: int
) -> None:
    ordering = write_ordering(local, write_variant(local, "one"))
    other = write_ordering(local, write_variant(local, "other"))
    with monkeypatch.context() as patch:
        stop_after(n_operations, patch)
        with pytest.raises(KeyboardInterrupt):
            retire(local, decisions(local))
    assert is_accounted_for(local, ordering)
    assert is_accounted_for(local, other)
    retire(local, decisions(local))
    assert local.list("masks") == local.list("weights") == []
    assert is_accounted_for(local, ordering)
    assert len(retired_groups(local)) == 4


def stop_after(n_operations: int, patch: pytest.MonkeyPatch) -> None:
    """Interrupt after some writes of markers and removals of files."""
    left = [n_operations]

    def counted(original: Callable[..., None]) -> Callable[..., None]:
        def operate(self: Store, path: str, *data: bytes) -> None:
            if not path.startswith("claims/"):
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
            original(self, path, *data)

        return operate

    for name in ("write", "delete"):
        patch.setattr(Store, name, counted(getattr(Store, name)))
