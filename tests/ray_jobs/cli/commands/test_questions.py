"""Commands that answer questions: query, report, figures and rescore."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner, Result

from catalog.sql_files import FIRST_QUESTIONS, TOPICS, list_queries, listed_views
from catalog.store import Catalog
from mlprune.errors import BadInputError, QueryError, StoreError
from mlprune.store.store import Store
from ray_jobs.cli.application import app
from tests.tiny_recipes import FinishedRun, copy_of


@pytest.fixture(scope="module")
def store_path(queried_store: Store) -> str:
    return queried_store.uri


def query(*arguments: str, columns: str = "80") -> str:
    done = CliRunner().invoke(app, ["query", *arguments], env={"COLUMNS": columns})
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.mark.thorough("runs commands that start or finish runs")
def test_a_table_fits_the_width_and_wide_and_digits_change_it(store_path: str) -> None:
    options = ("values_by_variant", "--store", store_path)
    narrow = query(*options, columns="60").splitlines()
    assert max(map(len, narrow)) <= 60
    rows = json.loads(query(*options, "--format", "json"))
    assert "variant_id" in " ".join(narrow).partition("not shown: ")[2]
    assert f"3 of {len(rows)} rows (--rows all)" in query(*options, "--rows", "3")
    wide = query(*options, "--wide", "--digits", "5", "--rows", "all").splitlines()
    assert len(wide) == len(rows) + 3
    vertical = query(*options, "--vertical", "--rows", "1").splitlines()
    assert any(line.split() == ["variant_id", rows[0]["variant_id"]] for line in vertical)
    assert rows[0]["variant_id"] in wide[2]
    assert f"{rows[0]['value']:.5f}" in wide[2]


def test_without_a_question_the_first_ones_are_shown(tmp_path: Path) -> None:
    lines = query("--store", str(tmp_path)).splitlines()
    assert [line.split()[0] for line in lines[1:7]] == list(FIRST_QUESTIONS)
    assert len(lines) == 8
    assert str(tmp_path) in lines[0]
    assert "--topics" in lines[-1]


@pytest.mark.parametrize("arguments", [("--list", "--format"), ("--topics", "--format")])
def test_the_list_of_queries_has_every_format(arguments: tuple[str, ...]) -> None:
    rows = json.loads(query(*arguments, "json"))
    assert {row["name"]: (row["topic"], row["meaning"]) for row in rows} == {
        one.name: (one.topic, one.summary) for one in list_queries()
    }
    assert list(csv.DictReader(query(*arguments, "csv").splitlines())) == rows


def test_the_first_questions_have_every_format(tmp_path: Path) -> None:
    rows = json.loads(query("--store", str(tmp_path), "--format", "json"))
    assert {row["name"]: row["question"] for row in rows} == FIRST_QUESTIONS
    done = CliRunner().invoke(app, ["query", "--list", "--format", "yaml"])
    assert done.exit_code != 0
    assert isinstance(done.exception, QueryError | SystemExit)


def test_topics_list_every_query_once() -> None:
    lines = query("--topics").splitlines()
    assert query("--list").splitlines() == lines
    *topics, of_views = [line for line in lines if not line.startswith(" ")]
    assert topics == list(TOPICS.values())
    place = lines.index(of_views)
    queries, views = (
        [line.split()[0] for line in part if line.startswith(" ")] for part in (lines[:place], lines[place:])
    )
    assert sorted(queries) == [one.name for one in list_queries()]
    assert views == list(listed_views())
    assert max(map(len, lines)) <= 80


def test_a_query_and_a_view_are_described_within_the_width_and_in_every_format() -> None:
    for name, columns in (("best_by_language", "80"), ("internal.protocols", "60")):
        lines = query("--describe", name, columns=columns).splitlines()
        assert lines[0].startswith(f"{name}: ")
        assert max(map(len, lines)) <= int(columns)
    (row,) = [row for row in json.loads(query("--describe", "costs", "--format", "json")) if row["name"] == "own_s"]
    assert (row["type"], row["unit"]) == ("DOUBLE", "s")
    assert row["meaning"]


def test_what_cannot_be_described_is_bad_input_that_names_the_nearest() -> None:
    done = CliRunner().invoke(app, ["query", "--describe", "difference"])
    assert isinstance(done.exception, QueryError)
    assert "differences" in str(done.exception.context["nearest"])


@pytest.mark.parametrize("rows", ["0", "-1", "few", ""])
def test_a_wrong_number_of_rows_is_bad_input(store_path: str, rows: str) -> None:
    done = CliRunner().invoke(app, ["query", "SELECT 1 AS a", "--store", store_path, "--rows", rows])
    assert isinstance(done.exception, BadInputError)
    assert "--rows" in str(done.exception)


def test_a_short_id_is_accepted_as_a_parameter(store_path: str) -> None:
    (row,) = json.loads(
        query("SELECT max(variant_id) AS id FROM variant_layers", "--store", store_path, "--format", "json")
    )
    assert "n_removed" in query("layer_sparsity", "--store", store_path, "--param", f"variant_id={row['id'][:8]}")


def test_an_empty_answer_is_a_sentence_or_an_empty_array(store_path: str) -> None:
    nothing = ("SELECT 1 AS a WHERE false", "--store", store_path)
    assert query(*nothing) == "No rows; the columns are a\n"
    assert query(*nothing, "--format", "json") == "[]\n"
    assert query(*nothing, "--format", "csv") == "a\n"
    assert query("values_by_variant", "--store", store_path, "--param", "task=nope").startswith(
        "No rows for task=nope; "
    )


ENDLESS = "SELECT sum(a.range * b.range) FROM range(1000000) a, range(10000000) b"


@pytest.mark.thorough("runs commands that start or finish runs")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_query_at_once_with_one_line(store_path: str, number: signal.Signals, code: int) -> None:
    command = (
        "import sys; from catalog.store import connections; from ray_jobs.cli.application import main\n"
        "run = connections.run_query\n"
        f"connections.run_query = lambda c, sql, *a, **k: (sql == {ENDLESS!r} and print('ready', flush=True), "
        "run(c, sql, *a, **k))[1]\n"
        f"sys.argv = ['mlprune', 'query', {ENDLESS!r}, '--store', {store_path!r}]; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            usage = psutil.Process(process.pid).cpu_times
            before = usage().user
            while usage().user < before + 0.3:
                time.sleep(0.01)
            process.send_signal(number)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode, out, err.count("\n")) == (code, "", 1)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.thorough("runs commands that start or finish runs")
def test_report_writes_a_page_and_prints_its_path(store_path: str, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    result = invoke("report", "--store", store_path, "--out", str(out))
    assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    assert out.read_text("utf-8").startswith("<!DOCTYPE html>")


def test_figures_writes_the_selected_figures_and_prints_their_paths(store_path: str, tmp_path: Path) -> None:
    options = ("--figure", "pareto", "--format", "svg", "--score", "wanda", "--width", "5")
    result = invoke("report", "--figures", "--store", store_path, "--out", str(tmp_path), *options)
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path / 'pareto.svg'}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pareto.csv", "pareto.sql", "pareto.svg"]


def test_a_misspelt_figure_is_bad_input(store_path: str, tmp_path: Path) -> None:
    result = invoke("report", "--figures", "--store", store_path, "--out", str(tmp_path), "--figure", "pareot")
    assert isinstance(result.exception, BadInputError)
    assert "nearest='pareto'" in str(result.exception)


@pytest.mark.parametrize("name", ["missing/output", "file/output", "file/below/output"])
@pytest.mark.parametrize(
    "command",
    [
        ("report",),
        (
            "report",
            "--figures",
        ),
        ("report", "--tables", "--like", "paper"),
        ("report", "--notebook", "--no-open"),
    ],
    ids=" ".join,
)
def test_an_output_without_its_folder_is_refused_before_the_catalog_is_read(
    command: tuple[str, ...], name: str, store_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(Catalog, "fold", lambda _: pytest.fail("the catalog is read"))
    result = invoke(*command, "--store", store_path, "--out", str(tmp_path / name))
    assert isinstance(result.exception, BadInputError)
    assert result.exception.context["path"] == str(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_output_of_another_kind_is_refused(store_path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for command, out in ((("report",), tmp_path), (("report", "--figures"), tmp_path / "file")):
        assert isinstance(invoke(*command, "--store", store_path, "--out", str(out)).exception, BadInputError)


@pytest.fixture(scope="module")
def rescored_path(small_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(small_run.store, tmp_path_factory.mktemp("rescoring") / "store").uri


@pytest.mark.thorough("runs commands that start or finish runs")
def test_rescore_prints_the_evaluations_and_the_catalog_has_them(rescored_path: str) -> None:
    result = invoke("rescore", "--store", rescored_path, "--rule", "candidate_mean", "--language", "fr")
    assert result.exit_code == 0
    ids = result.stdout.split()
    assert len(ids) == 4
    assert "4 evaluations, 4 of them new; 3 new comparisons" in result.stderr
    sql = "SELECT evaluation_id, scoring_rule FROM evaluations WHERE scoring_rule <> 'mean' ORDER BY ALL"
    rows = json.loads(invoke("query", sql, "--store", rescored_path, "--format", "json").stdout)
    assert [row["evaluation_id"] for row in rows] == ids


@pytest.mark.thorough("runs commands that start or finish runs")
def test_one_variant_is_rescored_by_its_label(rescored_path: str) -> None:
    options = ("--store", rescored_path, "--rule", "candidate_sum", "--language", "fr")
    assert len(invoke("rescore", *options, "--variant", "dense").stdout.split()) == 1
    refused = invoke("rescore", *options, "--variant", "ordering")
    assert isinstance(refused.exception, StoreError)
    assert "several variants" in str(refused.exception)


def test_ranks_are_one_row_per_variant(rescored_path: str) -> None:
    result = invoke("query", "ranks", "--store", rescored_path, "--task", "facts", "--format", "json")
    rows = json.loads(result.stdout)
    assert len(rows) == 4
    assert sum(row["average_rank"] for row in rows) == pytest.approx(10)
    assert {row["n_data_sets"] for row in rows} == {2}
    assert "view aggregates" in result.stderr


@pytest.mark.thorough("runs commands that start or finish runs")
def test_example_ids_are_read_from_a_file(rescored_path: str, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("1\n\n 2 \n")
    result = invoke("rescore", "--store", rescored_path, "--examples", str(ids), "--metric", "accuracy")
    sql = f"SELECT n_examples FROM evaluations WHERE evaluation_id = '{result.stdout.split()[0]}'"
    assert json.loads(invoke("query", sql, "--store", rescored_path, "--format", "json").stdout) == [{"n_examples": 2}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rule", "max"], "scoring rule"),
        (["--from-rule", "max"], "scoring rule"),
        ([], "nothing to compute"),
        (["--examples", "absent.txt"], "absent.txt"),
    ],
)
def test_wrong_options_are_bad_input(rescored_path: str, arguments: list[str], message: str) -> None:
    result = invoke("rescore", "--store", rescored_path, *arguments)
    assert isinstance(result.exception, BadInputError)
    assert message in str(result.exception)


def test_an_empty_file_of_example_ids_is_bad_input(rescored_path: str, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("\n")
    result = invoke("rescore", "--store", rescored_path, "--examples", str(tmp_path / "ids.txt"))
    assert "one id per line" in str(result.exception)
