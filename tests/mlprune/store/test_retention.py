"""Files of masks: which exist, who reads them, and how they are made again."""

from pathlib import Path

import pytest

from mlprune.store.backend.local_files import FileInfo
from mlprune.store.retention import DAY_S, Decision, MaskFiles, Ranking, Remaking, RetentionRules, decide, mask_files
from mlprune.store.store import Store
from tests.mask_records import write_ordering, write_variant
from tests.records import made_up_record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def only(store: Store) -> MaskFiles:
    (found,) = mask_files(store)
    return found


def test_an_ordering_has_masks_and_weights_of_its_variants(store: Store) -> None:
    one, other = write_variant(store, "one"), write_variant(store, "other")
    ordering = write_ordering(store, one, other)
    found = only(store)
    assert (found.ordering_id, found.variant_ids, found.n_bytes) == (ordering.id, (one.id, other.id), 10)
    assert found.groups == (f"masks/{one.id}", f"weights/{one.id}")
    assert 0 <= found.age_s < 60
    assert (found.remaking, found.is_current, found.is_complete) == (Remaking.FROM_STATISTICS, True, True)


def test_composed_and_quantised_variants_read_the_files_of_others(store: Store) -> None:
    one = write_variant(store, "one")
    ordering = write_ordering(store, one)
    composed = write_variant(store, "composed")
    store.write_record(made_up_record("mask_compositions", parents={"variant": composed.id, "ordering": ordering.id}))
    quantised = write_variant(store, "quantised", unquantised=composed.id)
    assert only(store).variant_ids == (one.id, composed.id, quantised.id)


def test_files_that_another_record_lists_too_are_not_of_one_ordering(store: Store) -> None:
    one, other = write_variant(store, "one"), write_variant(store, "other")
    write_ordering(store, one, folder="shared")
    write_ordering(store, other, folder="shared")
    assert mask_files(store) == []


def test_masks_without_their_statistics_need_the_model_to_be_made_again(store: Store) -> None:
    artefact = store.write_bytes("statistics/s/block-000.part-00000.parquet", b"1")
    statistics = made_up_record("statistics", artefacts=[artefact], step_version=2)
    store.write_record(statistics)
    write_ordering(store, write_variant(store, "one"), statistics=statistics.id)
    assert only(store).remaking is Remaking.FROM_STATISTICS
    store.delete(artefact.path)
    assert only(store).remaking is Remaking.WITH_THE_MODEL


def test_files_of_earlier_versions_are_not_current(store: Store) -> None:
    write_ordering(store, write_variant(store, "old", step_version=2))
    assert not only(store).is_current


def test_an_ordering_without_files_is_left_out_and_one_with_some_is_incomplete(store: Store) -> None:
    ordering = write_ordering(store, write_variant(store, "one"))
    store.delete(ordering.artefacts[0].path)
    assert (only(store).n_bytes, only(store).is_complete) == (5, False)
    store.delete(ordering.artefacts[1].path)
    assert mask_files(store) == []


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
