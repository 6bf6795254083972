"""`mlprune catalog`: output, exit codes and effect on the store."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from catalog.store import Catalog
from mlprune.errors import StoreError
from mlprune.store.store import Store
from ray_jobs.cli.application import app
from tests.mlprune.store.test_merge import add
from tests.records import made_up_record


def mlprune(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_merge_copies_all_records_and_folds_them(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    add(other, 7, kind="mask_blocks")
    result = mlprune("catalog", "merge", other.uri, "--store", store.uri)
    assert (result.exit_code, result.stdout.split()[0]) == (0, "1")
    with Catalog.open(store) as catalog:
        assert catalog.query("SELECT count(*) AS n FROM records") == [{"n": 4}]


def test_merge_of_a_record_without_its_artefact_ends_1_and_names_it(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    record = add(other, 7, kind="mask_blocks")
    (tmp_path / "other" / record.artefacts[0].path).unlink()
    result = mlprune("catalog", "merge", other.uri, "--store", store.uri)
    assert result.exit_code == 1
    assert record.path in result.stdout


def test_a_merge_without_verification_copies_what_follows_from_nothing_and_says_so(
    store: Store, tmp_path: Path
) -> None:
    other = Store(tmp_path / "other")
    record = made_up_record("answers", parents={"comparisons": ["0" * 20]}, step_version=2)
    other.write_record(record)
    arguments = ("catalog", "merge", other.uri, "--store", store.uri)
    assert mlprune(*arguments).exit_code == 1
    assert not store.has_record("answers", record.id)
    assert mlprune(*arguments, "--unverified").exit_code == 0
    assert store.has_record("answers", record.id)
    assert other.uri in mlprune("catalog", "check", "--store", store.uri).stderr


def test_rebuild_counts_the_records(store: Store) -> None:
    result = mlprune("catalog", "rebuild", "--store", store.uri)
    assert (result.exit_code, result.stdout.split()[:2]) == (0, ["3", "records,"])


def test_control_characters_in_names_are_escaped_by_check(store: Store) -> None:
    store.write_bytes("masks/\x1b[2J", b"unreferenced")
    store.write_bytes("records/masks/\x1b[2J.json", b"{}")
    result = mlprune("catalog", "check", "--repair", "--store", store.uri)
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert r"masks/\x1b[2J" in result.stderr
    assert r"records/masks/\x1b[2J.json" in result.stdout


@pytest.mark.parametrize("command", [("merge", "nothing"), ("rebuild",), ("check",)])
def test_a_missing_store_is_bad_input(command: tuple[str, ...], tmp_path: Path) -> None:
    result = mlprune("catalog", *command, "--store", str(tmp_path / "nothing"))
    assert isinstance(result.exception, StoreError)
    assert not (tmp_path / "nothing").exists()
