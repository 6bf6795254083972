"""`mlprune query`: tables for people, exact formats for programs."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from typer.testing import CliRunner

from mlprune.store.store import Store
from ray_jobs.cli.application import app


@pytest.fixture(scope="module")
def store(queried_store: Store) -> str:
    return queried_store.uri


def query(*arguments: str, columns: str = "80") -> str:
    done = CliRunner().invoke(app, ["query", *arguments], env={"COLUMNS": columns})
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_a_table_fits_the_width_and_wide_and_digits_change_it(store: str) -> None:
    options = ("values_by_variant", "--store", store)
    narrow = query(*options, columns="60").splitlines()
    assert max(map(len, narrow)) <= 60
    assert "ids are shortened" in " ".join(narrow)
    wide = query(*options, "--wide", "--digits", "5").splitlines()
    rows = json.loads(query(*options, "--format", "json"))
    assert len(wide) == len(rows) + 4
    assert rows[0]["variant_id"] in wide[2]
    assert f"{rows[0]['value']:.5f}" in wide[2]


def test_a_short_id_is_accepted_as_a_parameter(store: str) -> None:
    (row,) = json.loads(query("SELECT max(variant_id) AS id FROM variant_layers", "--store", store, "--format", "json"))
    assert "n_removed" in query("layer_sparsity", "--store", store, "--param", f"variant_id={row['id'][:8]}")


def test_an_empty_answer_is_a_sentence_or_an_empty_array(store: str) -> None:
    nothing = ("SELECT 1 AS a WHERE false", "--store", store)
    assert query(*nothing) == "No rows; the columns are a\n"
    assert query(*nothing, "--format", "json") == "[]\n"
    assert query(*nothing, "--format", "csv") == "a\n"
    assert query("values_by_variant", "--store", store, "--param", "task=nope").startswith("No rows for task=nope; ")


ENDLESS = "SELECT sum(a.range * b.range) FROM range(1000000) a, range(10000000) b"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_query_at_once_with_one_line(store: str, number: signal.Signals, code: int) -> None:
    command = (
        "import sys; from catalog.store import connections; from ray_jobs.cli.application import main\n"
        "run = connections.run_query\n"
        f"connections.run_query = lambda c, sql, *a, **k: (sql == {ENDLESS!r} and print('ready', flush=True), "
        "run(c, sql, *a, **k))[1]\n"
        f"sys.argv = ['mlprune', 'query', {ENDLESS!r}, '--store', {store!r}]; main()"
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
