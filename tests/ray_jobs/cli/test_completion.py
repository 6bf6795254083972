"""Completion in a shell: queries, stores and variants, as bash asks for them."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlprune.store.store import Store
from ray_jobs.cli.application import app
from ray_jobs.cli.completion import complete_store
from tests.records import made_up_record


def completed(line: str) -> list[str]:
    """What bash is offered for the last word of a line."""
    words = line.split(" ")
    environment = {"_MLPRUNE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    result = CliRunner().invoke(app, [], env=environment, prog_name="mlprune")
    return result.stdout.split()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a store of two variants, an empty store and another folder."""
    names = [{"kind": "variant", "name": name, "id": "x"} for name in ("wanda-50", "wanda-60", "dense")]
    names.append({"kind": "search", "name": "wanda-search", "id": "y"})
    Store(tmp_path / "runs").write_record(made_up_record("recipes", rows={"names": names}))
    (tmp_path / "runs-empty" / "records").mkdir(parents=True)
    (tmp_path / "deep" / "store" / "records").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_and_options_are_completed() -> None:
    assert "query" in completed("mlprune qu")
    assert "--keep-best" in completed("mlprune gc --keep")


def test_built_in_queries_are_completed() -> None:
    offered = completed("mlprune query best_")
    assert "best_by_language" in offered
    assert all(name.startswith("best_") for name in offered)


@pytest.mark.parametrize(
    ("incomplete", "expected"),
    [
        ("", ["runs/", "runs-empty/"]),
        ("runs-", ["runs-empty/"]),
        ("dee", ["deep/"]),
        ("deep/", ["deep/store/"]),
        ("./ru", ["./runs/", "./runs-empty/"]),
        ("no-such/x", []),
    ],
)
@pytest.mark.usefixtures("folder")
def test_stores_are_completed_before_other_folders(incomplete: str, expected: list[str]) -> None:
    assert sorted(complete_store(incomplete)) == sorted(expected)


def test_absolute_paths_stay_absolute(folder: Path) -> None:
    assert complete_store(f"{folder}{os.sep}runs-") == [f"{folder}/runs-empty/"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mlprune export --store runs wan", ["wanda-50", "wanda-60"]),
        ("mlprune export wan", ["wanda-50", "wanda-60"]),
        ("mlprune harness --store runs den", ["dense"]),
        ("mlprune publish --store runs wan", ["wanda-50", "wanda-60"]),
        ("mlprune export --store runs-empty wan", []),
        ("mlprune export --store s3://bucket/x wan", []),
        ("mlprune gc --store runs-", ["runs-empty/"]),
    ],
)
def test_variants_of_a_local_store_are_completed(line: str, expected: list[str]) -> None:
    assert completed(line) == expected
