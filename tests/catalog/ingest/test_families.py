"""Families of tests and corrected p-values, which every fold computes."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from catalog.ingest.fold import update_schema
from catalog.ingest.insert_rows import insert_rows, refresh, refresh_all
from catalog.ingest.table_files import declared_tables
from catalog.queries import run_user_query
from catalog.registered import registered_differences
from catalog.store import Catalog
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.store import Store
from tests.catalog.families import corrected, exploratory, key_of
from tests.catalog_data import write_rows

P_VALUES = (0.04, 0.01, 0.03, 0.01, 1.0)
"""One for each language of the variant v1."""


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A catalog with two variants and the dense model of one task, each compared with dense in some languages."""
    with duckdb.connect() as connection:
        update_schema(connection)
        model = {"base_model_id": "m", "sparsity": 0.0}
        variants = [
            {**model, "variant_id": "dense"},
            *({**model, "variant_id": f"v{n}", "sparsity": 0.5} for n in (1, 2)),
        ]
        insert(connection, "variants", variants)
        for n, p_value in enumerate(P_VALUES):
            compare(connection, "v1", language=f"l{n}", p_value=p_value)
        refresh_all(connection)
        yield connection


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    insert_rows(connection, declared_tables()[table], rows)


def compare(
    connection: duckdb.DuckDBPyConnection, variant: str, *, language: str, split: str = "test", **values: Any
) -> Mapping[str, Any]:
    """Insert a comparison with dense and both evaluations; return the row."""
    task = {"task": "facts", "language": language, "split": split, "scoring_rule": "mean", "protocol_id": "p"}
    task["profile"] = "corrected"
    ids = [f"{name}-{language}-{split}" for name in (variant, "dense")]
    for name, evaluation_id in zip((variant, "dense"), ids, strict=True):
        insert(
            connection, "evaluations", [{**task, "evaluation_id": evaluation_id, "variant_id": name, "n_examples": 9}]
        )
    row = {**task, "comparison_id": ids[0], "variant_id": variant, "baseline_id": "dense", "metric": "accuracy"}
    row |= {"test": "tango", "evaluation_id": ids[0], "baseline_evaluation_id": ids[1], "difference": 0.1, **values}
    insert(connection, "comparison_results", [row])
    return row


def families(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[Any, ...]]:
    """Evaluation id -> test_family, n_family, p_value, p_corrected and q_bh."""
    sql = (
        "SELECT evaluation_id, test_family, n_family, p_value, p_corrected, q_bh, is_primary FROM internal.comparisons"
    )
    return {row[0]: row[1:] for row in connection.execute(sql).fetchall()}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_languages_and_variants_of_a_task_are_one_exploratory_family(connection: duckdb.DuckDBPyConnection) -> None:
    row = compare(connection, "v2", language="l0", p_value=0.02)
    refresh(connection, changed={"comparison_results", "evaluations"}, ids={row["comparison_id"]})
    expected = corrected([*P_VALUES, 0.02])
    found = families(connection)
    names = {values[0] for values in found.values()}
    assert len(names) == 1
    assert names.pop().startswith("facts test accuracy against dense #")
    p_values = [found[f"v1-l{n}-test"][3:5] for n in range(len(P_VALUES))] + [found["v2-l0-test"][3:5]]
    assert p_values == [pytest.approx((each.p_corrected, each.q_bh)) for each in expected]
    assert {values[1] for values in found.values()} == {6}
    assert {values[5] for values in found.values()} == {False}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_only_a_primary_question_is_a_family_of_its_own(connection: duckdb.DuckDBPyConnection) -> None:
    before = families(connection)
    question = {"question_id": "q1", "name": "wins", "task": "facts", "split": "test", "metric": "accuracy"}
    question |= {"group_kind": "language", "group_name": "l1", "claim": "gain", "over": "each", "is_primary": True}
    question |= {"recipe": "r", "criterion_id": "k", "is_declared": True}
    later = {**question, "question_id": "q0", "name": "later", "is_primary": False, "criterion_id": "l"}
    for asked in (later, question):
        insert(connection, "questions", [asked])
        key = {"question_id": asked["question_id"], "variant_id": "v1", "baseline_id": "dense"}
        insert(connection, "question_variants", [key])
        answer = {**key, "comparison_id": "v1-l1-test", "p_value": 0.01, "difference": 0.1}
        insert(connection, "answer_results", [answer])
        refresh(connection, changed={"questions", "question_variants", "answer_results"}, ids={asked["question_id"]})
        if asked is later:
            assert families(connection) == before
    found = families(connection)
    assert found["v1-l1-test"] == ("wins #q1", 1, 0.01, 0.01, 0.01, True)
    others = corrected([p for n, p in enumerate(P_VALUES) if n != 1])
    assert [found[f"v1-l{n}-test"][3] for n in (0, 2, 3, 4)] == [pytest.approx(each.p_corrected) for each in others]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_dev_has_no_tests_once_the_task_has_a_test_split(connection: duckdb.DuckDBPyConnection) -> None:
    with duckdb.connect() as alone:
        update_schema(alone)
        insert(alone, "variants", [{"variant_id": name, "sparsity": n / 2} for n, name in enumerate(("dense", "v1"))])
        first = compare(alone, "v1", language="fr", split="dev", p_value=0.02)
        refresh_all(alone)
        assert families(alone)[first["evaluation_id"]][2:5] == (0.02, 0.02, 0.02)
        second = compare(alone, "v1", language="fr", split="test", p_value=0.03)
        refresh(alone, changed={"comparison_results", "evaluations"}, ids={second["evaluation_id"]})
        assert families(alone)[first["evaluation_id"]] == (None,) * 6
        assert families(alone)[second["evaluation_id"]][2:5] == (0.03, 0.03, 0.03)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_an_evaluation_that_a_larger_one_replaces_is_no_test(connection: duckdb.DuckDBPyConnection) -> None:
    larger = {"task": "facts", "language": "l1", "split": "test", "scoring_rule": "mean", "protocol_id": "p"}
    larger |= {"variant_id": "v1", "evaluation_id": "larger", "n_examples": 99}
    insert(connection, "evaluations", [larger])
    refresh(connection, changed={"evaluations"}, ids={"larger"})
    found = families(connection)
    assert found["v1-l1-test"] == (None,) * 6
    assert {found[f"v1-l{n}-test"][1] for n in (0, 2, 3, 4)} == {4}


def test_the_families_of_a_store_follow_from_its_records(catalog: Catalog, rows: dict[str, Any]) -> None:
    expected = exploratory(rows)
    found = {key_of(row): row for row in catalog.query("FROM internal.comparisons WHERE split = 'test'")}
    assert found.keys() == expected.keys()
    for key, row in found.items():
        assert (row["n_family"], row["p_corrected"]) == (expected[key].n_family, expected[key].p_corrected)
        assert row["q_bh"] == pytest.approx(expected[key].q_bh)
    on_dev = catalog.query("FROM internal.comparisons WHERE split = 'dev'")
    assert on_dev
    assert all(row["p_value"] is None and row["test_family"] is None for row in on_dev)


def test_aggregates_are_corrected_over_the_variants_within_a_group(catalog: Catalog, rows: dict[str, Any]) -> None:
    dense = next(row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0)
    wanted = {"task": "facts", "split": "test", "metric": "accuracy", "group_kind": "worst", "baseline_id": dense}
    members = [row for row in rows["aggregate_results"] if wanted.items() <= row.items()]
    expected = corrected([row["p_value"] for row in members])
    where = " AND ".join(f"{name} = ${name}" for name in wanted)
    found = {row["variant_id"]: row for row in catalog.query(f"FROM internal.aggregates WHERE {where}", wanted)}
    assert len(found) == len(members) > 1
    for row, values in zip(members, expected, strict=True):
        assert found[row["variant_id"]]["n_family"] == len(members)
        assert found[row["variant_id"]]["p_corrected"] == pytest.approx(values.p_corrected)
        assert found[row["variant_id"]]["q_bh"] == pytest.approx(values.q_bh)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_aggregate_over_most_languages_counts(store: Store) -> None:
    record = next(record for record in store.records("comparisons") if record.rows.get("aggregate_results"))
    kept = [row for row in record.rows["aggregate_results"] if row["split"] == "test"] or record.rows[
        "aggregate_results"
    ]
    more = [{**row, "comparison_id": "@id", "n_languages": 9, "p_value": 0.5} for row in kept]
    with Catalog.open(store) as opened:
        before = opened.query("SELECT count(*) AS n FROM internal.aggregates")
        record_id = write_rows(store, "comparisons", parameters={"more": 1}, rows={"aggregate_results": more})
        opened.fold()
        assert opened.query("SELECT count(*) AS n FROM internal.aggregates") == before
        found = opened.query("FROM internal.aggregates WHERE n_languages = 9")
        assert {row["comparison_id"] for row in found} == {record_id}
        with Catalog.in_memory(store) as rebuilt:
            assert opened.fingerprints() == rebuilt.fingerprints()


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_row_without_a_test_is_in_no_family(connection: duckdb.DuckDBPyConnection) -> None:
    row = compare(connection, "v2", language="l0", p_value=1e-36, test=None)
    refresh(connection, changed={"comparison_results", "evaluations"}, ids={row["comparison_id"]})
    found = families(connection)
    assert found[row["evaluation_id"]] == (None,) * 6
    assert {found[f"v1-l{n}-test"][1] for n in range(len(P_VALUES))} == {len(P_VALUES)}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_comparisons_of_an_earlier_version_are_neither_shown_nor_counted(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """A variant has comparisons of version 2 only, every other one those that are shown, and some both."""
    least = RECORD_KINDS["comparisons"].shown_since
    shown = [record for record in store.records("comparisons") if record.step_version == least]
    current = next(record for record in shown if record.rows["comparison_results"][0]["split"] == "test")
    old_columns = ("task", "language", "split", "metric", "difference", "ci_low", "ci_high", "evaluation_id")
    with Catalog.open(store) as opened:
        helpers = ("internal.comparisons", "internal.aggregates")
        tables = (*helpers, "comparison_results", "rank_consistency", "differences")
        before = {table: opened.query(f"FROM {table} ORDER BY ALL") for table in tables}
        for variant_id in ("old", current.rows["comparison_results"][0]["variant_id"]):
            rows = [
                {name: row[name] for name in (*old_columns, "baseline_id", "baseline_evaluation_id")}
                | {"comparison_id": "@id", "variant_id": variant_id, "p_value": 1e-36, "p_corrected": 1e-34}
                for row in current.rows["comparison_results"]
            ]
            own = {"of": variant_id}
            write_rows(store, "comparisons", parameters=own, rows={"comparisons": rows}, step_version=2)
        ranks = [
            row | {"evaluation_id": "old"} for row in next(store.records("rank_consistency")).rows["rank_consistency"]
        ]
        write_rows(store, "rank_consistency", parameters={}, rows={"rank_consistency": ranks}, step_version=3)
        opened.fold()
        assert {table: opened.query(f"FROM {table} ORDER BY ALL") for table in tables} == before
        versions = opened.query("SELECT kind, step_version, count(*) AS n FROM records GROUP BY ALL")
        assert {"kind": "comparisons", "step_version": 2, "n": 2} in versions
        with Catalog.in_memory(store) as rebuilt:
            assert rebuilt.fingerprints() == opened.fingerprints()
    assert "2 records of kind comparisons" in caplog.text


def write_as_today(store: Store) -> None:
    """Write the comparisons, answers and recipes of a store once more, as a run of today's version does."""
    ids: dict[str, str] = {}
    for kind in ("comparisons", "answers", "recipes"):
        for record in list(store.records(kind)):
            text = json.dumps([record.parameters, record.parents, record.rows])
            for old, new in {**ids, record.id: "@id"}.items():
                text = text.replace(f'"{old}"', f'"{new}"')
            parameters, parents, rows = json.loads(text)
            for row, old_row in zip(rows.get("questions", ()), record.rows.get("questions", ()), strict=True):
                row["criterion_id"] = old_row["criterion_id"]
            version = RECORD_KINDS[kind].version
            ids[record.id] = write_rows(
                store, kind, parameters=parameters, parents=parents, rows=rows, step_version=version
            )


def said(catalog: Catalog) -> dict[str, list[Mapping[str, Any]]]:
    """Return what answers, comparisons and groups say, without ids of records."""
    keys = "comparison_id, test_family, question_id"
    queries = {
        "answers": "SELECT * EXCLUDE (question_id, comparison_id) FROM answers ORDER BY name, variant_id",
        "comparisons": f"SELECT * EXCLUDE ({keys}) FROM internal.comparisons ORDER BY ALL",
        "aggregates": f"SELECT * EXCLUDE ({keys}) FROM internal.aggregates ORDER BY ALL",
        "questions": "SELECT name, status FROM internal.described_questions ORDER BY ALL",
    }
    return {name: list(catalog.query(sql)) for name, sql in queries.items()}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_later_versions_of_comparisons_and_answers_replace_earlier_ones_and_double_no_family(
    store: Store, tmp_path: Path
) -> None:
    """Until its recipe runs again, a store shows the answers that it has. Earlier declarations still hold."""
    versions = "SELECT DISTINCT step_version FROM records WHERE kind = $kind AND id IN (SELECT {0}_id FROM {1})"
    shown = {
        "answers": versions.format("question", "answers"),
        "comparisons": versions.format("comparison", "internal.comparisons"),
    }
    with Catalog.open(store) as opened:
        before = said(opened)
        assert {row["verdict"] for row in before["answers"]} > {"exploratory"}
        assert all(row["n_family"] for row in before["comparisons"] if row["p_value"] is not None)
        registered = tmp_path / "declared.json"
        registered.write_text(json.dumps(run_user_query(opened, "declarations").as_dicts()))
        write_as_today(store)
        opened.fold()
        assert said(opened) == before
        assert list(registered_differences(store, registered)) == []
        for kind, sql in shown.items():
            assert opened.query(sql, {"kind": kind}) == [{"step_version": RECORD_KINDS[kind].version}]
        with Catalog.in_memory(store) as rebuilt:
            assert rebuilt.fingerprints() == opened.fingerprints()
