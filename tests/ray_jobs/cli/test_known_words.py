"""Words that a shell offers: commands, built-in queries, stores, and values of a store."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from catalog.report.figures import FIGURES
from catalog.store import Catalog
from catalog.store.database_file import FILE_NAME
from catalog.store.known_values import known_values
from mlprune.store.store import Store
from ray_jobs.cli.application import app
from ray_jobs.cli.known_words import complete_store
from tests.catalog_data import fill_store
from tests.records import made_up_record


def completed(line: str, **environment: str) -> list[str]:
    """What bash is offered for the last word of a line, whose spaces have backslashes or are in quotes."""
    n_words = len(re.findall(r"(?:\\.|\"[^\"]*(?:\"|$)|[^ ])+", line)) + line.endswith(" ")
    environment |= {"_MLPRUNE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(n_words - 1)}
    result = CliRunner().invoke(app, [], env=environment, prog_name="mlprune")
    return list(filter(None, result.stdout.split("\n")))


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
    assert "--keep-best" in completed("mlprune store gc --keep")


def test_built_in_queries_are_completed() -> None:
    offered = completed("mlprune query best_")
    assert "best_by_language" in offered
    assert all(name.startswith("best_") for name in offered)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mlprune query best_by_language --param ", ["task=", "metric=", "with_groups="]),
        ("mlprune query best_by_language --param task=x --param m", ["metric="]),
        ("mlprune query no_such_query --param ", []),
        ("mlprune query --param t", []),
        ("mlprune query --describe best_v", ["best_variant"]),
        ("mlprune query best_by_language --format ", ["table", "json", "csv"]),
        ("mlprune report --figures --format ", ["pdf", "svg"]),
        ("mlprune report --figures --figure curv", ["curves"]),
        ("mlprune report --tables --format m", ["markdown"]),
        ("mlprune check machine --format ", ["table", "json"]),
        ("mlprune check model x --format j", ["json"]),
        ("mlprune export --as ar", ["arrow"]),
        ("mlprune run recipe.yaml --address ", ["local", "auto", "none"]),
        ("mlprune demo --address n", ["none"]),
        ("mlprune methods --kind sc", ["score", "schedule"]),
        ("mlprune completion z", ["zsh"]),
    ],
)
def test_parameters_formats_figures_and_other_words_are_completed(line: str, expected: list[str]) -> None:
    assert sorted(completed(line)) == sorted(expected)


def test_all_figures_that_can_be_written_are_completed() -> None:
    assert set(completed("mlprune report --figures --figure ")) == {one.anchor for one in FIGURES}


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
        ("mlprune export --as masks --store runs wan", ["wanda-50", "wanda-60"]),
        ("mlprune export --store runs-empty wan", []),
        ("mlprune export --store s3://bucket/x wan", []),
        ("mlprune store gc --store runs-", ["runs-empty/"]),
    ],
)
def test_variants_of_a_local_store_are_completed(line: str, expected: list[str]) -> None:
    assert completed(line) == expected


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with results and a catalog file."""
    folder = tmp_path_factory.mktemp("completion") / "filled"
    fill_store(store := Store(folder))
    with Catalog.open(store) as catalog:
        catalog.fold()
    return folder


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mlprune rescore --task fa", ["facts"]),
        ("mlprune store gc --by accuracy --task fa", ["facts"]),
        ("mlprune report --figures --task per", ["perplexity"]),
        ("mlprune query ranks --task tr", ["translation"]),
        ("mlprune rescore --language fr", ["fr", "fr-en"]),
        ("mlprune store gc --language s", ["sw"]),
        (r"mlprune import --results x --variant magnitude\ 0.3", [r"magnitude\ 0.3", r"magnitude\ 0.3\ row"]),
        ('mlprune rescore --variant "magnitude 0.5', ["magnitude 0.5", "magnitude 0.5 row"]),
        ("mlprune rescore --task no-such", []),
    ],
)
def test_values_of_a_store_are_completed_from_its_catalog(filled: Path, line: str, expected: list[str]) -> None:
    assert completed(line, MLPRUNE_STORE=str(filled)) == expected


def test_the_store_of_the_command_line_comes_before_that_of_the_environment(filled: Path, folder: Path) -> None:
    line = f"mlprune rescore --store {filled} --task fa"
    assert completed(line, MLPRUNE_STORE=str(folder / "runs")) == ["facts"]


def test_tasks_that_can_read_data_are_completed_without_a_store() -> None:
    assert completed("mlprune check data x --task xsto") == ["xstory_cloze"]


def test_an_error_gives_no_completions_but_names_that_the_records_have(folder: Path) -> None:
    (folder / "runs" / FILE_NAME).write_bytes(b"not a catalog" * 100)
    assert completed("mlprune rescore --store runs --task f") == []
    assert completed("mlprune rescore --store runs --variant wan") == ["wanda-50", "wanda-60"]
    assert completed("mlprune rescore --store no-such --task f") == []
    assert known_values(folder / "runs-empty", "task", "") == []


@pytest.mark.thorough("runs commands that start or finish runs")
@pytest.mark.parametrize(
    ("line", "n_words", "n_offered"),
    [
        ("mlprune rescore --store {} --variant magn", 6, 6),
        ("mlprune query best_by_language --param ", 5, 3),
        ("mlprune report --figures --figure curv", 5, 1),
    ],
)
def test_a_completion_imports_neither_models_nor_ray(filled: Path, line: str, n_words: int, n_offered: int) -> None:
    script = (
        "import sys; sys.argv = ['mlprune']\n"
        "from ray_jobs.cli.application import app\n"
        "try: app()\n"
        "finally: sys.stderr.write(' '.join({'torch', 'ray', 'transformers', 'pandas'} & set(sys.modules)))"
    )
    environment = {**os.environ, "_MLPRUNE_COMPLETE": "complete_bash", "COMP_CWORD": str(n_words - 1)}
    environment["COMP_WORDS"] = line.format(filled)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert len(done.stdout.splitlines()) == n_offered
    assert done.stderr == ""
