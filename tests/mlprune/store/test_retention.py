"""Retention: which mask files exist, which are retired, and what marks them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mlprune.errors import DamagedArtefactError, RetiredArtefactError, StoreError
from mlprune.store.backend.local_files import FileInfo
from mlprune.store.claims import Claims
from mlprune.store.records import Record
from mlprune.store.retention import (
    CLAIM,
    DAY_S,
    Decision,
    MaskFiles,
    Ranking,
    Remaking,
    RetentionRules,
    decide,
    mask_files,
    retire,
)
from mlprune.store.retired import (
    group_of,
    marker_path,
    only_retired,
    read_marker,
    remove_markers_of_complete,
    retired_groups,
    write_marker,
)
from mlprune.store.store import Store
from tests.ended_processes import ended_process
from tests.mask_records import write_ordering, write_variant
from tests.records import made_up_record
from tests.refusals import refused


def decisions(store: Store, *, is_retired: bool = True) -> list[Decision]:
    return [Decision(masks, is_retired, "space") for masks in mask_files(store)]


def is_accounted_for(store: Store, record: Record) -> bool:
    sizes = store.sizes_of([artefact.path for artefact in record.artefacts])
    return only_retired(record, sizes, groups=retired_groups(store)) is not None


@pytest.mark.thorough("writes and reads many records")
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


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("masks/0f3a/block-007.parquet", "masks/0f3a"),
        ("predictions/0f3a.parquet", "predictions/0f3a"),
        ("features/0f3a.block-007.parquet", "features/0f3a"),
        ("statistics/0f3a/block-007.set-1.part-00000.parquet", "statistics/0f3a"),
    ],
)
def test_the_files_of_one_folder_and_id_are_a_group(path: str, group: str) -> None:
    assert group_of(path) == group
    assert marker_path(group) == f"retired/{group}.json"


def with_masks(store: Store) -> Record:
    paths = ["masks/a/block-000.parquet", "masks/a/block-001.parquet", "weights/a/block-000.safetensors"]
    record = made_up_record("masks", artefacts=[store.write_bytes(path, path.encode()) for path in paths])
    store.write_record(record)
    return record


def sizes(store: Store, record: Record) -> list[int]:
    return store.sizes_of([artefact.path for artefact in record.artefacts])


def test_a_missing_file_is_damage_until_its_group_has_a_marker(store: Store) -> None:
    record = with_masks(store)
    missing = record.artefacts[1]
    store.delete(missing.path)
    with pytest.raises(DamagedArtefactError):
        store.read_bytes(missing)
    assert only_retired(record, sizes(store, record), groups=retired_groups(store)) is None
    write_marker(store, "masks/a", retired_at="2026-11-26", reason="space")
    assert retired_groups(store) == {"masks/a"}
    with refused(RetiredArtefactError, retired_at="2026-11-26") as error:
        store.read_bytes(missing)
    assert "--remake" in str(error.value.context["next"])
    assert only_retired(record, sizes(store, record), groups=retired_groups(store)) == {"masks/a"}
    assert not store.is_complete(record)
    assert not store.is_intact(record)
    assert store.is_intact(record, may_be_retired=True)


def test_a_file_with_another_size_is_damage_even_if_its_group_was_retired(local: Store) -> None:
    record = with_masks(local)
    write_marker(local, "masks/a", retired_at="", reason="")
    local.write_bytes(record.artefacts[0].path, b"other")
    assert only_retired(record, sizes(local, record), groups=retired_groups(local)) is None
    assert not local.is_intact(record, may_be_retired=True)


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"other": 1}'])
def test_a_damaged_marker_still_marks(local: Store, data: bytes) -> None:
    record = with_masks(local)
    local.write(marker_path("masks/a"), data)
    local.delete(record.artefacts[0].path)
    assert read_marker(local, "masks/a") == {}
    with pytest.raises(RetiredArtefactError):
        local.read_bytes(record.artefacts[0])


def test_a_marker_is_removed_once_all_files_of_its_group_exist_again(local: Store) -> None:
    record = with_masks(local)
    for group in ("masks/a", "weights/a"):
        write_marker(local, group, retired_at="", reason="")
    local.delete(record.artefacts[0].path)
    remove_markers_of_complete(local, record.artefacts)
    assert retired_groups(local) == {"masks/a"}
    local.write_bytes(record.artefacts[0].path, record.artefacts[0].path.encode())
    remove_markers_of_complete(local, record.artefacts)
    assert retired_groups(local) == frozenset()


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_only_a_regular_file_is_a_marker(local: Store, kind: str) -> None:
    record = with_masks(local)
    path = Path(local.uri) / marker_path("masks/a")
    path.parent.mkdir(parents=True)
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert retired_groups(local) == frozenset()
    assert read_marker(local, "masks/a") is None
    remove_markers_of_complete(local, record.artefacts)
    local.delete(record.artefacts[0].path)
    with pytest.raises(DamagedArtefactError):
        local.read_bytes(record.artefacts[0])
    write_marker(local, "masks/a", retired_at="2026-11-26", reason="space")
    assert retired_groups(local) == {"masks/a"}


def only(local: Store) -> MaskFiles:
    (found,) = mask_files(local)
    return found


def test_an_ordering_has_masks_and_weights_of_its_variants(local: Store) -> None:
    one, other = write_variant(local, "one"), write_variant(local, "other")
    ordering = write_ordering(local, one, other)
    found = only(local)
    assert (found.ordering_id, found.variant_ids, found.n_bytes) == (ordering.id, (one.id, other.id), 10)
    assert found.groups == (f"masks/{one.id}", f"weights/{one.id}")
    assert 0 <= found.age_s < 60
    assert (found.remaking, found.is_current, found.is_complete) == (Remaking.FROM_STATISTICS, True, True)


def test_composed_and_quantised_variants_read_the_files_of_others(local: Store) -> None:
    one = write_variant(local, "one")
    ordering = write_ordering(local, one)
    composed = write_variant(local, "composed")
    local.write_record(made_up_record("mask_compositions", parents={"variant": composed.id, "ordering": ordering.id}))
    quantised = write_variant(local, "quantised", unquantised=composed.id)
    assert only(local).variant_ids == (one.id, composed.id, quantised.id)


def test_files_that_another_record_lists_too_are_not_of_one_ordering(local: Store) -> None:
    one, other = write_variant(local, "one"), write_variant(local, "other")
    write_ordering(local, one, folder="shared")
    write_ordering(local, other, folder="shared")
    assert mask_files(local) == []


def test_masks_without_their_statistics_need_the_model_to_be_made_again(local: Store) -> None:
    artefact = local.write_bytes("statistics/s/block-000.part-00000.parquet", b"1")
    statistics = made_up_record("statistics", artefacts=[artefact], step_version=2)
    local.write_record(statistics)
    write_ordering(local, write_variant(local, "one"), statistics=statistics.id)
    assert only(local).remaking is Remaking.FROM_STATISTICS
    local.delete(artefact.path)
    assert only(local).remaking is Remaking.WITH_THE_MODEL


def test_files_of_earlier_versions_are_not_current(local: Store) -> None:
    write_ordering(local, write_variant(local, "old", step_version=2))
    assert not only(local).is_current


def test_an_ordering_without_files_is_left_out_and_one_with_some_is_incomplete(local: Store) -> None:
    ordering = write_ordering(local, write_variant(local, "one"))
    local.delete(ordering.artefacts[0].path)
    assert (only(local).n_bytes, only(local).is_complete) == (5, False)
    local.delete(ordering.artefacts[1].path)
    assert mask_files(local) == []


UNRANKED = Ranking({}, {})


def masks(name: str, *, days: float = 100.0, n_bytes: int = 10, swept: bool = False, current: bool = True) -> MaskFiles:
    files = (FileInfo(f"masks/{name}/block-000.parquet", n_bytes, 0.0),)
    remaking = Remaking.WITH_THE_MODEL if swept else Remaking.FROM_STATISTICS
    return MaskFiles(name, (name, f"{name}-quantised"), files, days * DAY_S, remaking, current, is_complete=True)


def retired(decisions: list[Decision]) -> list[str]:
    return [one.masks.ordering_id for one in decisions if one.is_retired]


def test_what_is_made_again_from_statistics_goes_first_then_the_worst_then_the_oldest() -> None:
    ranking = Ranking({}, {"good": 2, "bad": 9, "swept": 30})
    files = [masks("swept", swept=True), masks("good"), masks("bad"), masks("young", days=1), masks("old", days=300)]
    assert retired(decide(files, ranking, RetentionRules())) == ["bad", "good", "old", "young", "swept"]


def test_a_quota_stops_as_soon_as_it_is_met() -> None:
    files = [masks(name, n_bytes=10) for name in "abc"]
    ranking = Ranking({}, {"a": 1, "b": 2, "c": 3})
    decisions = decide(files, ranking, RetentionRules(quota_bytes=85), store_bytes=100)
    assert retired(decisions) == ["c", "b"]
    assert retired(decide(files, ranking, RetentionRules(quota_bytes=100), store_bytes=100)) == []
    assert retired(decide(files, ranking, RetentionRules(quota_bytes=0), store_bytes=100)) == ["c", "b", "a"]


@pytest.mark.parametrize("name", ["one", "one-quantised"])
def test_the_files_of_a_kept_variant_stay_also_if_it_only_reads_them(name: str) -> None:
    (decision,) = decide([masks("one")], Ranking({name: "winner of a search"}, {}), RetentionRules())
    assert (decision.is_retired, decision.reason) == (False, "winner of a search")


@pytest.mark.parametrize(("days", "is_retired"), [(89.9, False), (90.1, True)])
def test_files_written_in_the_last_days_stay(days: float, *, is_retired: bool) -> None:
    (decision,) = decide([masks("one", days=days)], UNRANKED, RetentionRules(keep_days=90))
    assert decision.is_retired == is_retired


def test_files_of_an_earlier_version_stay_because_nothing_makes_them_again() -> None:
    (decision,) = decide([masks("one", current=False)], UNRANKED, RetentionRules(quota_bytes=0), store_bytes=10)
    assert not decision.is_retired


def test_variants_without_a_rank_stay_only_if_variants_are_ranked() -> None:
    files = [masks("ranked"), masks("unranked")]
    ranking = Ranking({}, {"ranked": 5})
    assert retired(decide(files, ranking, RetentionRules(requires_rank=True))) == ["ranked"]
    assert retired(decide(files, ranking, RetentionRules())) == ["ranked", "unranked"]
