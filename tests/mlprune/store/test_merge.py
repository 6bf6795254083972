"""Merging of stores: everything of both, verified, and nothing twice."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import StoreError
from mlprune.store.artefacts import sha256_of
from mlprune.store.compaction import compact
from mlprune.store.merge import MOST_NAMED, Merge, mark_unverified, merge, unverified_records
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record
from mlprune.store.retired import group_of, retired_groups, write_marker
from mlprune.store.store import Store
from tests.mask_records import write_ordering, write_variant
from tests.records import made_up_record, record_text


def add(store: Store, number: int, kind: str = "evaluations") -> Record:
    path = f"{RECORD_KINDS[kind].folders[0]}/{kind}-{number}.parquet"
    artefact = store.write_bytes(path, f"bytes {number}".encode())
    record = made_up_record(kind, {"number": number}, artefacts=[artefact])
    store.write_record(record)
    return record


@pytest.fixture
def target(tmp_path: Path) -> Store:
    store = Store(tmp_path / "target")
    for number in (0, 1):
        add(store, number)
    return store


@pytest.fixture
def source(tmp_path: Path) -> Store:
    store = Store(tmp_path / "source")
    for number in (1, 2, 3):
        add(store, number)
    store.write_run_file("run-2", "job-0", {"job_id": "a"})
    return store


def root(store: Store) -> Path:
    assert store.local_root is not None
    return store.local_root


def test_everything_of_both_stores_is_in_one(target: Store, source: Store) -> None:
    expected = sorted({*target.record_names(), *source.record_names()})
    assert merge(source, target) == Merge(n_records=2, n_files=3, n_known=1, refused=())
    assert target.record_names() == expected
    assert all(target.is_intact(record) for record in target.records())
    assert target.read_json("runs/run-2/job-0.json") == {"job_id": "a"}
    assert merge(source, target) == Merge(n_records=0, n_files=0, n_known=3, refused=())


def test_compacted_records_are_merged(target: Store, source: Store) -> None:
    compact(source)
    compact(target)
    assert merge(source, target).n_records == 2
    assert len(target.record_names()) == 4


def test_a_record_with_a_damaged_artefact_is_not_copied(
    target: Store, source: Store, caplog: pytest.LogCaptureFixture
) -> None:
    bad = next(record for record in source.records() if record.parameters["number"] == 2)
    (root(source) / bad.artefacts[0].path).write_bytes(b"other bytes")
    done = merge(source, target)
    assert (done.n_records, done.refused) == (1, (bad.path,))
    assert not target.has_record(bad.kind, bad.id)
    assert source.has_record(bad.kind, bad.id)
    assert f"{bad.path} is not copied" in caplog.text


def test_a_missing_artefact_of_an_existing_record_is_copied(target: Store, source: Store) -> None:
    shared = next(record for record in target.records() if record.parameters["number"] == 1)
    (root(target) / shared.artefacts[0].path).unlink()
    merge(source, target)
    assert target.is_intact(shared)


def test_an_interrupted_merge_is_completed_by_the_next(
    target: Store, source: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, n_left = Store.write_record, [1]

    def failing(store: Store, record: Record) -> None:
        if not n_left[0]:
            raise OSError("no space left on device")
        n_left[0] -= 1
        write(store, record)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_record", failing)
        with pytest.raises(OSError, match="no space"):
            merge(source, target)
    merge(source, target)
    assert len(target.record_names()) == 4
    assert all(target.is_intact(record) for record in target.records())


def test_a_store_is_not_merged_into_itself(target: Store) -> None:
    with pytest.raises(StoreError, match="itself"):
        merge(Store(target.uri), target)


def test_bytes_that_another_machine_computed_do_not_replace_existing_ones(
    target: Store, source: Store, caplog: pytest.LogCaptureFixture
) -> None:
    shared = next(record for record in source.records() if record.parameters["number"] == 1)
    artefact = source.write_bytes(shared.artefacts[0].path, b"almost bytes 1")
    source.write_record(made_up_record(shared.kind, shared.parameters, artefacts=[artefact]))
    with caplog.at_level(logging.WARNING):
        merge(source, target)
    kept = target.read_record(shared.kind, shared.id)
    assert kept is not None
    assert target.read_bytes(kept.artefacts[0]) == b"bytes 1"


def test_a_record_that_lists_other_bytes_under_an_existing_path_is_refused(target: Store, source: Store) -> None:
    shared = next(record for record in target.records() if record.parameters["number"] == 1)
    artefact = source.write_bytes(shared.artefacts[0].path, b"almost bytes 1")
    other = made_up_record("evaluations", {"number": "other"}, artefacts=[artefact])
    source.write_record(other)
    assert merge(source, target).refused == (other.path,)
    assert target.is_intact(shared)


@pytest.mark.parametrize(
    "change",
    [
        {"artefacts": [{"path": "masks/../../../evil.sh", "n_bytes": 4, "sha256": sha256_of(b"evil"), "n_rows": None}]},
        {"artefacts": [{"path": "records/masks/x.json", "n_bytes": 4, "sha256": sha256_of(b"evil"), "n_rows": None}]},
        {"artefacts": [{"path": "imported-models/a/x", "n_bytes": 4, "sha256": sha256_of(b"evil"), "n_rows": None}]},
        {"artefacts": [{"path": "retired/masks/a.json", "n_bytes": 4, "sha256": sha256_of(b"evil"), "n_rows": None}]},
        {"artefacts": [{"path": ".hooks/pre-commit", "n_bytes": 4, "sha256": sha256_of(b"evil"), "n_rows": None}]},
        {"artefacts": [{"path": "masks/a/x.parquet", "n_bytes": 4, "sha256": sha256_of(b"evil"), "n_rows": None}]},
        {"kind": "../../../", "id": "PWN2"},
        {"id": "../../../PWN2"},
    ],
)
def test_a_merge_writes_nothing_outside_the_folders_of_a_kind(tmp_path: Path, change: dict[str, Any]) -> None:
    source, target = Store(tmp_path / "source"), Store(tmp_path / "a" / "b" / "target")
    record = add(source, 1)
    (root(source) / record.path).write_bytes(record_text({**json.loads(record.to_json()), **change}))
    paths = [
        "../../evil.sh",
        "records/masks/x.json",
        "imported-models/a/x",
        "retired/masks/a.json",
        ".hooks/pre-commit",
    ]
    for path in (root(source) / name for name in (*paths, "masks/a/x.parquet")):
        path.resolve().parent.mkdir(parents=True, exist_ok=True)
        path.resolve().write_bytes(b"evil")
    before = sorted(tmp_path.rglob("*"))
    done = merge(source, target)
    assert record.path in done.refused
    assert done.n_records == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_a_merge_moves_nothing_in_the_store_it_reads(target: Store, source: Store) -> None:
    bad = next(source.records())
    source.write_bytes(bad.path, b"{")
    before = source.list("")
    assert bad.path in merge(Store(source.uri), target).refused or target.has_record(bad.kind, bad.id)
    assert source.list("") == before


def test_a_record_that_says_something_wrong_and_what_was_computed_from_it_are_refused(
    target: Store, source: Store, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = next(record for record in source.records() if record.parameters["number"] == 2)
    result = made_up_record("comparisons", parents={"evaluations": [wrong.id]})
    source.write_record(result)
    done = merge(source, target, examine=lambda _, record: ["wrong by hand"] if record == wrong else [])
    assert set(done.refused) == {wrong.path, result.path}
    assert done.n_records == 1
    assert f"{wrong.path} is not copied: wrong by hand" in caplog.text
    assert f"{result.path} is not copied: it was computed from" in caplog.text


def retire(store: Store, record: Record) -> str:
    """Retire the file of a record; return its group."""
    group = group_of(record.artefacts[0].path)
    write_marker(store, group, retired_at="2026-11-26", reason="space")
    store.delete(record.artefacts[0].path)
    return group


def numbered(store: Store, number: int) -> Record:
    return next(record for record in store.records() if record.parameters["number"] == number)


def test_of_files_that_were_retired_there_the_record_and_the_marker_are_copied(target: Store, source: Store) -> None:
    record = numbered(source, 2)
    group = retire(source, record)
    assert merge(source, target) == Merge(n_records=2, n_files=2, n_known=1, refused=(), n_retired=1)
    assert target.read_record(*(record.kind, record.id)) == record
    assert retired_groups(target) == {group}
    assert target.is_intact(record, may_be_retired=True)


def test_files_that_were_retired_here_stay_retired(target: Store, source: Store) -> None:
    record = numbered(target, 1)
    group = retire(target, record)
    assert merge(source, target).n_known == 1
    assert retired_groups(target) == {group}
    assert not target.list(record.artefacts[0].path)
    assert not target.is_complete(record)


def test_a_marker_of_another_store_does_not_hide_damage_here(target: Store, source: Store) -> None:
    retire(source, numbered(source, 1))
    record = numbered(target, 1)
    target.delete(record.artefacts[0].path)
    assert merge(source, target).refused == (record.path,)
    assert retired_groups(target) == frozenset()


def test_a_marker_cannot_come_with_a_record_that_names_a_file_of_another_records_group(
    target: Store, source: Store
) -> None:
    """The other store has a record of its own that lists a retired file next to those of an ordering of this store."""
    ordering = write_ordering(target, write_variant(target, "a"))
    group = group_of(ordering.artefacts[0].path)
    planted = source.write_bytes(f"{group}/block-999.parquet", b"x")
    record = made_up_record("masks", {"planted": 1}, artefacts=[planted])
    source.write_record(record)
    write_marker(source, group, retired_at="2026-11-26", reason="space")
    source.delete(planted.path)
    assert merge(source, target).refused == (record.path,)
    assert retired_groups(target) == frozenset()


def test_a_file_that_no_record_lists_is_not_overwritten(target: Store, source: Store) -> None:
    path = numbered(source, 2).artefacts[0].path
    target.write_bytes(path, b"bytes of a run that was killed")
    assert merge(source, target).refused == (numbered(source, 2).path,)
    assert target.read_file(path) == b"bytes of a run that was killed"


def test_a_damaged_file_of_an_existing_record_is_replaced(target: Store, source: Store) -> None:
    shared = numbered(target, 1)
    target.write_bytes(shared.artefacts[0].path, b"damaged bytes")
    merge(source, target)
    assert target.is_intact(shared)


def test_a_run_file_that_is_a_link_out_of_the_other_store_is_not_copied(
    target: Store, source: Store, tmp_path: Path
) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "secret").write_text("secret")
    (root(source) / "runs" / "run-2" / "job-1.json").symlink_to(tmp_path / "private" / "secret")
    (root(source) / "runs" / "run-3").symlink_to(tmp_path / "private")
    merge(source, target)
    assert target.list("runs") == ["runs/run-2/job-0.json"]


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_file_of_a_record_that_is_a_link_out_of_the_other_store_is_not_copied(
    target: Store, source: Store, tmp_path: Path, *, is_folder: bool
) -> None:
    folder = root(source) / "predictions"
    outside = tmp_path / "outside"
    if is_folder:
        folder.rename(outside)
        folder.symlink_to(outside)
    else:
        outside.write_bytes((folder / "evaluations-2.parquet").read_bytes())
        (folder / "evaluations-2.parquet").unlink()
        (folder / "evaluations-2.parquet").symlink_to(outside)
    expected = [numbered(source, number) for number in ((2, 3) if is_folder else (2,))]
    examined: list[Record] = []
    done = merge(source, target, examine=lambda _, record: examined.append(record) or [])  # type: ignore[func-returns-value]
    assert not any(record in examined for record in expected)
    assert sorted(done.refused) == sorted(record.path for record in expected)
    for record in expected:
        assert target.sizes_of([record.path, record.artefacts[0].path]) == [-1, -1]


def test_of_a_link_inside_the_other_store_the_content_is_copied(target: Store, source: Store) -> None:
    path = numbered(source, 2).artefacts[0].path
    (root(source) / path).rename(root(source) / "predictions" / "moved.parquet")
    (root(source) / path).symlink_to("moved.parquet")
    assert merge(source, target).refused == ()
    assert target.is_intact(numbered(source, 2))
    assert not (root(target) / path).is_symlink()


def test_a_mark_or_marker_that_is_a_link_out_of_the_other_store_is_not_copied(
    target: Store, source: Store, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text('{"reason": "secret"}')
    (group,) = {group_of(artefact.path) for artefact in numbered(source, 2).artefacts}
    for path in ("unverified/x.json", f"retired/{group}.json"):
        (root(source) / path).parent.mkdir(parents=True)
        (root(source) / path).symlink_to(tmp_path / "secret")
    source.delete(numbered(source, 2).artefacts[0].path)
    mark_unverified(source, target)
    assert merge(source, target).refused == (numbered(source, 2).path,)
    assert not any("secret" in path.read_text() for path in root(target).rglob("*.json"))


def test_of_many_refused_records_the_first_are_logged(
    target: Store, source: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(10, 12 + MOST_NAMED):
        add(source, number)
    done = merge(source, target, examine=lambda _, record: ["wrong by hand"])
    assert len(done.refused) > MOST_NAMED
    assert caplog.text.count("wrong by hand") == MOST_NAMED


def test_a_merge_without_verification_is_marked_in_this_store_and_in_those_that_copy_from_it(
    target: Store, source: Store, tmp_path: Path
) -> None:
    assert unverified_records(target) == {}
    copied = sorted({record.path for record in source.records()} - {record.path for record in target.records()})
    assert mark_unverified(source, target)
    assert unverified_records(target) == {source.uri: []}
    merge(source, target)
    assert unverified_records(target) == {source.uri: copied}
    third = Store(tmp_path / "third")
    mark_unverified(target, third)
    merge(target, third)
    assert unverified_records(third)[source.uri] == copied
    assert set(unverified_records(third)) == {source.uri, target.uri}
    assert mark_unverified(source, target) is None


def test_a_mark_that_cannot_be_read_is_named(target: Store) -> None:
    target.write("unverified/x.json", b"[")
    assert unverified_records(target) == {"unverified/x.json": []}
