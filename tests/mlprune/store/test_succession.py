"""Succession of records: what was computed from a record stays if the record is made again as it was."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mlprune.store.compaction import compact
from mlprune.store.records import Record, RecordKey
from mlprune.store.store import Store
from mlprune.store.succession import quarantine_dependents, quarantined_copies
from tests.records import made_up_record

VALUES: Mapping[str, Any] = {"metrics": [{"value": 0.5}]}
OTHER_VALUES: Mapping[str, Any] = {"metrics": [{"value": 0.6}]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", quarantine=True)


@pytest.fixture
def chain(store: Store) -> list[Record]:
    """Statistics, the evaluation computed from them and its comparison, and an evaluation of something else."""
    first = written(store, "statistics", rows=VALUES)
    second = written(store, "evaluations", parents={"statistics": [first.id]})
    third = written(store, "comparisons", parents={"evaluation": second.id})
    return [first, second, third, written(store, "evaluations", parents={"statistics": ["ff"]})]


def written(store: Store, kind: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> Record:
    record = made_up_record(kind, parameters, **more)
    store.write_record(record)
    return record


def keys(records: list[Record]) -> set[RecordKey]:
    return {(record.kind, record.id) for record in records}


@pytest.mark.parametrize("is_compacted", [False, True])
def test_the_same_record_again_keeps_what_was_computed_from_it(
    store: Store, chain: list[Record], *, is_compacted: bool
) -> None:
    if is_compacted:
        compact(store)
    store.quarantine(chain[0])
    assert set(store.record_names()) == keys(chain[1:])
    store.write_record(chain[0])
    assert set(store.record_names()) == keys(chain)


@pytest.mark.parametrize("is_compacted", [False, True])
def test_another_version_of_a_record_quarantines_all_that_was_computed_from_it(
    store: Store, chain: list[Record], *, is_compacted: bool
) -> None:
    if is_compacted:
        compact(store)
    store.quarantine(chain[0])
    other = written(store, "statistics", rows=OTHER_VALUES)
    assert set(store.record_names()) == keys([other, chain[3]])
    assert quarantined_copies(store).keys() == keys(chain[:3])


def test_the_newest_version_in_quarantine_counts(store: Store, chain: list[Record]) -> None:
    store.quarantine(chain[0])
    other = written(store, "statistics", rows=OTHER_VALUES)
    for record in chain[1:3]:
        store.write_record(record)
    store.quarantine(other)
    store.write_record(chain[0])
    assert set(store.record_names()) == keys([chain[0], chain[3]])


@pytest.mark.parametrize(("index", "stays"), [(-3, True), (20, False)])
def test_the_checksum_that_a_damaged_record_states_decides(
    store: Store, chain: list[Record], *, index: int, stays: bool
) -> None:
    path = Path(store.uri) / chain[0].path
    text = bytearray(path.read_bytes())
    text[index] ^= 1
    path.write_bytes(text)
    assert store.read_record(chain[0].kind, chain[0].id) is None
    store.write_record(chain[0])
    assert set(store.record_names()) == keys(chain if stays else [chain[0], chain[3]])


def test_variants_depend_on_the_ordering_with_their_masks_but_not_the_blocks_it_was_made_of(store: Store) -> None:
    variant = written(store, "variants", {"sparsity": 0.5})
    block = written(store, "mask_blocks", {"ordering": variant.id, "block": 0}, parents={"variant": variant.id})
    later = written(store, "mask_blocks", {"ordering": variant.id, "block": 1}, parents={"variant": variant.id})
    rows = {"ordering_variants": [{"variant_id": variant.id}]}
    sweep = written(store, "masks", parents={"variant": variant.id}, rows=rows)
    evaluation = written(store, "evaluations", parents={"variant": variant.id})
    copies = list(store.records())
    assert set(quarantine_dependents(store, [sweep])) == keys([variant, evaluation])
    for record in copies:
        store.write_record(record)
    assert set(quarantine_dependents(store, [later])) == keys([variant, evaluation, sweep])
    for record in copies:
        store.write_record(record)
    assert set(quarantine_dependents(store, [block])) == keys([variant, evaluation, sweep, later])
    for record in copies:
        store.write_record(record)
    assert quarantine_dependents(store, [variant]) == [(evaluation.kind, evaluation.id)]


def test_a_composed_variant_depends_on_its_composition_and_through_it_on_the_ordering(store: Store) -> None:
    ordering = written(store, "masks", rows={"ordering_variants": []})
    variant = written(store, "variants", {"sparsity": 0.5})
    composition = written(store, "mask_compositions", parents={"ordering": ordering.id, "variant": variant.id})
    evaluation = written(store, "evaluations", parents={"variant": variant.id})
    copies = list(store.records())
    for changed, outdated in (
        (ordering, [composition, variant, evaluation]),
        (composition, [variant, evaluation]),
        (variant, [evaluation]),
    ):
        assert set(quarantine_dependents(store, [changed])) == keys(outdated)
        for record in copies:
            store.write_record(record)
