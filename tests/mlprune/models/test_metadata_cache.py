"""Metadata of a model folder is cached until something that it depends on changes."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlprune.models import metadata_cache
from mlprune.models.loading import inspect_model
from mlprune.models.metadata_cache import cached_metadata
from mlprune.models.placement.memory_estimate import footprint
from tests.tiny_models import save_tiny_model

LONG_AGO = 1_000_000_000


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mlprune" / "models"


@pytest.fixture
def at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as settled at once, since a test cannot set the ctime of a file."""
    monkeypatch.setattr(metadata_cache, "SETTLED_S", -3600.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "weights").write_bytes(bytes(8))
    return folder


class Finder:
    """Computes other metadata on each call, and counts the calls."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self) -> dict[str, Any]:
        self.n += 1
        return {"n": self.n}


@pytest.mark.usefixtures("at_rest")
def test_metadata_is_cached_per_folder_and_name(folder: Path, tmp_path: Path) -> None:
    find = Finder()
    assert [cached_metadata(folder, "a", find)["n"] for _ in range(3)] == [1, 1, 1]
    assert cached_metadata(folder, "b", find)["n"] == 2
    (tmp_path / "other").mkdir()
    assert cached_metadata(tmp_path / "other", "a", find)["n"] == 3


def rewrite(folder: Path) -> None:
    """Write other bytes of the same size, with the same mtime."""
    before = (folder / "weights").stat()
    (folder / "weights").write_bytes(bytes([1] * 8))
    os.utime(folder / "weights", ns=(before.st_atime_ns, before.st_mtime_ns))


def put_another_in_its_place(folder: Path) -> None:
    before = (folder / "weights").stat()
    (folder / "new").write_bytes(bytes(8))
    os.utime(folder / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (folder / "new").replace(folder / "weights")


CHANGES: dict[str, Callable[[Path], object]] = {
    "grown": lambda folder: (folder / "weights").write_bytes(bytes(9)),
    "touched": lambda folder: os.utime(folder / "config.json", (LONG_AGO, LONG_AGO)),
    "rewritten": rewrite,
    "replaced": put_another_in_its_place,
    "added": lambda folder: (folder / "tokenizer.json").write_text("{}"),
    "removed": lambda folder: (folder / "weights").unlink(),
    "renamed": lambda folder: (folder / "weights").rename(folder / "weight"),
}


@pytest.mark.usefixtures("at_rest")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_of_the_folder_invalidates_its_metadata(change: Callable[[Path], object], folder: Path) -> None:
    find = Finder()
    cached_metadata(folder, "a", find)
    change(folder)
    assert cached_metadata(folder, "a", find)["n"] == 2


@pytest.mark.usefixtures("at_rest")
def test_changed_code_or_libraries_invalidate_the_metadata(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = Finder()
    cached_metadata(folder, "a", find)
    monkeypatch.setattr(metadata_cache, "_version", lambda name: f"{name} of tomorrow")
    metadata_cache._code_hash.cache_clear()
    assert cached_metadata(folder, "a", find)["n"] == 2
    monkeypatch.undo()
    metadata_cache._code_hash.cache_clear()


def test_metadata_of_a_recently_changed_folder_is_not_cached(folder: Path) -> None:
    find = Finder()
    assert [cached_metadata(folder, "a", find)["n"] for _ in range(2)] == [1, 2]


@pytest.mark.usefixtures("at_rest")
def test_metadata_of_a_folder_that_changes_meanwhile_is_not_cached(folder: Path) -> None:
    find = Finder()

    def disturbed() -> dict[str, Any]:
        (folder / "weights").write_bytes(bytes(find.n + 20))
        return find()

    assert [cached_metadata(folder, "a", disturbed)["n"] for _ in range(2)] == [1, 2]


DAMAGES: dict[str, Callable[[str], str]] = {
    "cut off": lambda text: text[:-9],
    "empty": lambda _: "",
    "no object": lambda _: "[]",
    "another value": lambda text: json.dumps({**json.loads(text), "metadata": {"n": 9}}),
    "without metadata": lambda text: json.dumps({**json.loads(text), "metadata": None}),
}


@pytest.mark.usefixtures("at_rest")
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_ignored(damage: Callable[[str], str], folder: Path, own_cache: Path) -> None:
    find = Finder()
    cached_metadata(folder, "a", find)
    (entry,) = own_cache.iterdir()
    entry.write_text(damage(entry.read_text()))
    assert [cached_metadata(folder, "a", find)["n"] for _ in range(2)] == [2, 2]


@pytest.mark.usefixtures("at_rest")
def test_without_a_writable_cache_metadata_is_computed_each_time(folder: Path, own_cache: Path) -> None:
    own_cache.parent.mkdir(parents=True)
    own_cache.write_text("no folder")
    find = Finder()
    assert [cached_metadata(folder, "a", find)["n"] for _ in range(2)] == [1, 2]


@pytest.mark.usefixtures("at_rest")
def test_the_oldest_entries_are_deleted_above_the_limit(
    folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_cache, "MAX_ENTRIES", 3)
    for number in range(5):
        cached_metadata(folder, f"{number}", Finder())
    assert len(list(own_cache.iterdir())) == 3


@pytest.mark.usefixtures("at_rest")
def test_a_cached_inspection_is_the_same_and_does_not_build_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_tiny_model(tmp_path / "xglm", "xglm")
    inspected = inspect_model(path), footprint(path, "bfloat16")
    monkeypatch.setattr("mlprune.models.meta_model.build_skeleton", None)
    assert (inspect_model(path), footprint(path, "bfloat16")) == inspected
