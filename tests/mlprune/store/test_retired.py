"""Retired files: a missing file with a marker is not damage, and names the command that makes it again."""

import os
from pathlib import Path

import pytest

from mlprune.errors import DamagedArtefactError, RetiredArtefactError
from mlprune.store.records import Record
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
from tests.records import made_up_record


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
    with pytest.raises(RetiredArtefactError) as error:
        store.read_bytes(missing)
    assert "--remake" in str(error.value.context["next"])
    assert error.value.context["retired_at"] == "2026-11-26"
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
