"""Record listing: paths sorted by kind, and a hash that changes with every record."""

import pytest

from mlprune.store.listing import record_listing

PATHS = [
    "records/masks/a.json",
    "records/masks/b.json",
    "records/variants/a.json",
    "records/masks/segments/s.jsonl.zst",
    "records/masks/segments/s.c.void",
    "records/notes.txt",
    "records/masks/notes.txt",
    "records/masks/a/b.json",
]


def test_paths_are_sorted_by_kind_and_other_files_are_skipped() -> None:
    listing = record_listing(PATHS, kinds=["statistics"])
    assert listing.record_files == {"masks": {"a", "b"}, "variants": {"a"}}
    assert listing.segments == {"statistics": (), "masks": tuple(PATHS[3:5])}


@pytest.mark.parametrize(
    "change",
    [
        PATHS[1:],
        [*PATHS, "records/masks/c.json"],
        [*PATHS, "records/masks/segments/s.d.void"],
        ["records/masks/b.json", "records/variants/b.json", *PATHS[2:]],
    ],
)
def test_the_hash_changes_with_every_record_or_segment(change: list[str]) -> None:
    assert record_listing(change).sha256 != record_listing(PATHS).sha256


def test_the_hash_depends_neither_on_order_nor_on_empty_kinds_nor_on_other_files() -> None:
    reordered = record_listing([*reversed(PATHS[:5]), "records/other.txt"])
    assert reordered.sha256 == record_listing(PATHS).sha256
