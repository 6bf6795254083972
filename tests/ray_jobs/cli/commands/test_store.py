"""The commands that look after a store: what they print, and their exit codes."""

import os
import tempfile
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from catalog.store import Catalog
from mlprune.store.process_identity import this_process
from mlprune.store.scratch import OWNER, PREFIX
from mlprune.store.store import Store
from ray_jobs.cli.application import app
from tests.mlprune.store.test_merge import add


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for number in range(3):
        add(store, number, kind="recipes")
    return store


def mlprune(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_compact_says_what_it_did(store: Store) -> None:
    done = mlprune("store", "compact", "--store", store.uri)
    assert (done.exit_code, done.stdout) == (0, "3 record files became rows, 1 segments were written\n")
    assert len(store.record_names()) == 3


def test_merge_takes_everything_and_folds_it(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    add(other, 7, kind="recipes")
    done = mlprune("catalog", "merge", other.uri, "--store", store.uri)
    assert (done.exit_code, done.stdout) == (0, "1 records came with 1 files, 0 were known\n")
    with Catalog.open(store) as catalog:
        assert catalog.query("SELECT count(*) AS n FROM records") == [{"n": 4}]


def test_merge_ends_1_and_names_what_it_did_not_take(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    record = add(other, 7, kind="recipes")
    (tmp_path / "other" / record.artefacts[0].path).unlink()
    done = mlprune("catalog", "merge", other.uri, "--store", store.uri)
    assert done.exit_code == 1
    assert f"not taken, damaged or in contradiction: {record.path}" in done.stdout


def test_gc_lists_and_removes_on_request_only(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "store" / "predictions" / "lost.parquet"
    path.write_bytes(b"lost")
    assert "0 files, 0 bytes; 1 more are too young to tell" in mlprune("gc", "--store", store.uri).stdout
    then = time.time() - 48 * 3600
    os.utime(path, (then, then))
    listed = mlprune("gc", "--store", store.uri)
    assert (listed.exit_code, path.exists()) == (0, True)
    assert listed.stdout.splitlines() == [
        "           4 predictions/lost.parquet",
        "1 files, 4 bytes; 0 more are too young to tell",
    ]
    removed = mlprune("gc", "--store", store.uri, "--delete")
    assert (removed.exit_code, path.exists()) == (0, False)
    assert removed.stdout.splitlines()[-1].startswith("1 of 1 files removed")


def test_gc_takes_scratch_folders_of_ended_processes_along(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / OWNER).write_text(str(this_process()).rpartition("/")[0] + "/1")  # a process of our number, long ago
    line = f"{left}: scratch of a process that has ended"
    assert line in mlprune("gc", "--store", store.uri).stdout
    assert left.exists()
    assert f"{line} removed" in mlprune("gc", "--store", store.uri, "--delete").stdout
    assert not left.exists()


@pytest.mark.parametrize(
    "arguments", [("store", "compact", "--store"), ("gc", "--store"), ("catalog", "merge", "nothing", "--store")]
)
def test_a_store_that_is_not_there_is_bad_input(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = mlprune(*arguments, str(tmp_path / "nothing"))
    assert "the store has no records" in str(done.exception)
    assert not (tmp_path / "nothing").exists()
