"""Frozen stores: the catalog of a thawed one is that of the store, and the same store gives the same archive."""

from pathlib import Path

import pytest

from catalog.store import Catalog
from infra.pages.frozen import freeze, thaw, thawed
from mlprune.store.store import Store


@pytest.mark.thorough("runs recipes of its own")
def test_the_catalog_of_a_thawed_store_is_that_of_the_store(tmp_path: Path) -> None:
    with thawed("study") as store:
        assert store.local_root is not None
        freeze(store.local_root, tmp_path / "again.tar.xz")
        again = thaw(tmp_path / "again.tar.xz", tmp_path / "again")
        with Catalog.in_memory(again) as ours, Catalog.in_memory(store) as theirs:
            assert ours.fingerprints() == theirs.fingerprints()
            assert ours.query("SELECT count(*) AS n FROM jobs") == theirs.query("SELECT count(*) AS n FROM jobs")


def test_a_store_gives_the_same_archive_every_time_and_no_artefacts(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.write_run_file("run-1", "run", {"recipe": "r", "models": {"0f": "/somewhere/on/a/machine/model"}})
    store.write_table("masks/0f/block-000.parquet", {"level": [1]}, {"level": "int32"})
    archives = [tmp_path / "one.tar.xz", tmp_path / "two.tar.xz"]
    for archive in archives:
        freeze(tmp_path / "store", archive)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    thawed = thaw(archives[0], tmp_path / "thawed")
    assert thawed.list("") == ["runs/run-1/run.json"]
    assert thawed.read_json("runs/run-1/run.json")["models"] == {"0f": "model"}
