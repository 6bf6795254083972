"""`mlprune query`: tables for people, exact formats for programs."""

import json

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
