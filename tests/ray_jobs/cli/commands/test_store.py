"""`mlprune store` and `mlprune gc`: output, exit codes and effect on the files."""

import os
import tempfile
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mlprune.errors import BadInputError, StoreError
from mlprune.processes.process_identity import this_process
from mlprune.store.scratch import OWNER, PREFIX
from mlprune.store.store import Store
from ray_jobs.cli.application import app
from ray_jobs.cli.commands.store import parse_size


def mlprune(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture(autouse=True)
def own_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder of temporary files: `gc` also lists what killed tests left in the shared one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_compact_merges_the_record_files_into_a_segment(store: Store) -> None:
    result = mlprune("store", "compact", "--store", store.uri)
    assert (result.exit_code, result.stdout) == (0, "3 record files merged into 1 segments\n")
    assert len(store.record_names()) == 3


def test_gc_lists_files_and_deletes_them_only_on_request(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "store" / "masks" / "lost.parquet"
    path.write_bytes(b"lost")
    recent = mlprune("gc", "--store", store.uri).stdout
    assert recent.startswith("0 files, 0 bytes; 1 more")
    two_days_ago = time.time() - 48 * 3600
    os.utime(path, (two_days_ago, two_days_ago))
    listed = mlprune("gc", "--store", store.uri)
    assert (listed.exit_code, path.exists()) == (0, True)
    file_line, summary = listed.stdout.splitlines()
    assert file_line == "           4 masks/lost.parquet"
    assert summary.startswith("1 files, 4 bytes; 0 more")
    deleted = mlprune("gc", "--store", store.uri, "--delete")
    assert (deleted.exit_code, path.exists()) == (0, False)
    assert deleted.stdout.splitlines()[-1].startswith("1 of 1 files deleted")


def test_gc_includes_scratch_folders_of_processes_that_have_ended(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / f"{PREFIX}abandoned"
    folder.mkdir()
    (folder / OWNER).write_text(str(this_process()).rpartition("/")[0] + "/1")  # our process number, another start
    assert str(folder) in mlprune("gc", "--store", store.uri).stdout
    assert folder.exists()
    assert str(folder) in mlprune("gc", "--store", store.uri, "--delete").stdout
    assert not folder.exists()


@pytest.mark.parametrize("command", [("store", "compact"), ("gc",)])
def test_a_missing_store_is_bad_input(command: tuple[str, ...], tmp_path: Path) -> None:
    result = mlprune(*command, "--store", str(tmp_path / "nothing"))
    assert isinstance(result.exception, StoreError)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--keep-best", "2"],
        ["--by", "accuracy"],
        ["--task", "facts", "--keep-days", "3"],
        ["--language", "fr"],
        ["--quota", "many"],
        ["--quota", "5 parsec"],
    ],
)
def test_retention_options_that_do_not_fit_together_are_refused(store: Store, options: list[str]) -> None:
    result = mlprune("gc", "--store", store.uri, *options)
    assert isinstance(result.exception, BadInputError)


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("200GB", 200 * 10**9), ("1.5 TiB", 3 * 2**39), ("12MB", 12 * 10**6), ("7B", 7), ("2kB", 2000), ("1 KiB", 1024)],
)
def test_sizes_have_decimal_and_binary_units(text: str, n_bytes: int) -> None:
    assert parse_size(text) == n_bytes


def test_a_quota_that_cannot_be_met_is_a_warning(store: Store) -> None:
    result = mlprune("gc", "--store", store.uri, "--quota", "1B")
    assert result.exit_code == 0
    assert "above the quota" in result.stderr
