"""Files of masks: which exist, who reads them, and how they are made again."""

from pathlib import Path

import pytest

from mlprune.store.retention.mask_files import MaskFiles, Remaking, mask_files
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
