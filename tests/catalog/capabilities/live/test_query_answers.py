"""SQL that a user types into the live page: answers, limits and attacks."""

import csv
import io
import json
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from catalog.capabilities.live import query_answers
from catalog.capabilities.live.query_answers import answer_file, answer_table, editable_query
from catalog.store import Catalog
from catalog.store import live_catalog as live_catalog_module
from catalog.store.connections import QueryLimitError
from catalog.store.live_catalog import LiveCatalog
from mlprune.errors import QueryError
from mlprune.store.store import Store


@pytest.fixture
def opened(live_catalog: LiveCatalog) -> Catalog:
    return live_catalog.use(lambda catalog: catalog, wait_s=1)


def test_numbers_are_rounded_in_the_page_and_whole_in_a_file(opened: Catalog) -> None:
    sql = "SELECT 2::DOUBLE / 3 AS share, 1e-5::DOUBLE / 3 AS rate, 1.355e-20::DOUBLE AS p_value"
    assert answer_table(opened, sql)["rows"] == [["0.667", "3.33e-06", "<0.001"]]
    assert b"0.6666666666666666" in answer_file(opened, sql, "csv")


def test_a_statement_is_answered_as_text_with_null_and_escapes(opened: Catalog) -> None:
    sql = "SELECT 1.5 AS number, NULL AS nothing, [1, 2] AS list, chr(27) || '<b>' AS text"
    answer = answer_table(opened, sql)
    assert answer["columns"] == ["number", "nothing", "list", "text"]
    assert answer["rows"] == [["1.5", None, "[1, 2]", "\\x1b<b>"]]
    assert answer["is_cut"] is False


def test_a_built_in_query_is_run_by_its_name(opened: Catalog) -> None:
    assert answer_table(opened, "best_by_language")["rows"]
    with pytest.raises(QueryError, match="best_by_language"):
        answer_table(opened, "best_by_langage")


def test_a_comment_declares_the_values_of_parameters(opened: Catalog) -> None:
    sql = "-- one row\n-- $word VARCHAR = 'seen'\n-- $n INTEGER = 3\nSELECT $word AS word, $n + 1 AS n"
    assert answer_table(opened, sql)["rows"] == [["seen", "4"]]
    with pytest.raises(QueryError, match="missing"):
        answer_table(opened, "SELECT $word AS word")


@pytest.mark.parametrize("name", ["best_by_language", "failures", "rank_consistency_to_english"])
def test_a_built_in_query_can_be_copied_and_run(opened: Catalog, name: str) -> None:
    text = editable_query(opened, name)
    assert text.startswith(f"-- {name}:")
    assert answer_table(opened, text)["rows"] == answer_table(opened, name)["rows"]


def test_a_copied_query_has_the_only_task_of_the_store_as_its_default(
    opened: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_answers, "store_defaults", lambda *_, **__: {"task": "xnli"})
    text = editable_query(opened, "best_by_language")
    assert "-- $task VARCHAR = 'xnli'\n" in text
    assert "'facts'" not in text


def test_the_page_shows_the_first_rows_and_a_file_with_too_many_is_refused(
    opened: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = answer_table(opened, "SELECT range AS n FROM range(5000)")
    assert len(answer["rows"]) == query_answers.MAX_ROWS  # type: ignore[arg-type]
    assert answer["is_cut"] is True
    monkeypatch.setattr(query_answers, "MAX_FILE_ROWS", 10)
    for name in query_answers.FILE_FORMATS:
        assert answer_file(opened, "SELECT range AS n FROM range(10)", name)
        with pytest.raises(QueryLimitError, match="too many rows"):
            answer_file(opened, "SELECT range AS n FROM range(11)", name)
    monkeypatch.setattr(query_answers, "MAX_FILE_BYTES", 10)
    with pytest.raises(QueryLimitError, match="too large"):
        answer_file(opened, "SELECT range AS n FROM range(10)", "csv")


def test_files_have_exact_values(opened: Catalog) -> None:
    sql = "SELECT variant_id, value, 'a,\"b\nç' AS text FROM metrics ORDER BY ALL LIMIT 5"
    from_json = json.loads(answer_file(opened, sql, "json"))
    from_csv = list(csv.DictReader(io.StringIO(answer_file(opened, sql, "csv").decode())))
    from_parquet = pq.read_table(io.BytesIO(answer_file(opened, sql, "parquet"))).to_pylist()
    assert from_json == from_parquet
    assert len(from_json) == 5
    assert [row["value"] for row in from_csv] == [str(row["value"]) for row in from_json]
    assert from_csv[0]["text"] == from_json[0]["text"] == 'a,"b\nç'
    with pytest.raises(QueryError, match="no such format"):
        answer_file(opened, sql, "../csv")


@pytest.mark.thorough("serves a live page")
@pytest.mark.parametrize(
    "sql",
    [
        "COPY metrics TO '{folder}/stolen.csv'",
        "COPY (SELECT 1) TO '{folder}/stolen.parquet'",
        "EXPORT DATABASE '{folder}/stolen'",
        "ATTACH '{folder}/other.duckdb' AS other",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PRAGMA database_list",
        "PRAGMA enable_external_access",
        "SET enable_external_access = true",
        "SET GLOBAL memory_limit = '100GB'",
        "RESET lock_configuration",
        "CREATE TABLE t AS SELECT 1",
        "CREATE TEMP TABLE t AS SELECT 1",
        "CREATE MACRO m() AS 1",
        "DROP TABLE metrics",
        "DELETE FROM metrics",
        "UPDATE metrics SET value = 1",
        "INSERT INTO metrics SELECT * FROM metrics",
        "TRUNCATE metrics",
        "CALL pragma_version()",
        "CHECKPOINT",
        "VACUUM",
        "BEGIN TRANSACTION",
        "USE memory",
        "PREPARE p AS SELECT 1",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE metrics",
        "EXPLAIN ANALYZE COPY metrics TO '{folder}/stolen.csv'",
        "EXPLAIN ANALYZE DELETE FROM metrics",
        "WITH t AS (DELETE FROM metrics RETURNING *) SELECT * FROM t",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_csv_auto('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM read_parquet('{folder}/x.parquet')",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 'https://example.org/x.csv'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
        "SELECT getenv('HOME')",
        "SELECT * FROM json_execute_serialized_sql('SELECT 1')",
        "SELECT * FROM catalog",
        "SELECT * FROM sys",
        "SELECT * FROM enable_logging(storage_path := '{folder}/log')",
        "/etc/passwd",
        "{folder}/mine.sql",
        "../../mine.sql",
        "",
        "   ",
        "-- only a comment",
        "SELECT",
        "\x00",
        "🜲🜲🜲",
    ],
)
def test_an_attack_is_refused_in_one_line_and_writes_nothing(opened: Catalog, tmp_path: Path, sql: str) -> None:
    (tmp_path / "mine.sql").write_text("SELECT 1 AS one")
    before = opened.snapshot_id()
    with pytest.raises(QueryError) as caught:
        answer_table(opened, sql.format(folder=tmp_path))
    assert "\n" not in str(caught.value)
    assert "root:" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.sql"]
    assert opened.snapshot_id() == before


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "SELECT count(*) FROM range(1000000) AS a, range(1000000) AS b WHERE a.range * b.range % 7 = 3",
    ],
)
def test_a_query_without_an_end_is_interrupted_and_the_next_one_is_answered(
    opened: Catalog, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    monkeypatch.setattr(query_answers, "INTERRUPT_AFTER_S", 0.05)
    started = time.monotonic()
    for name in ("", "parquet"):
        with pytest.raises(QueryLimitError, match="too long"):
            answer_file(opened, sql, name) if name else answer_table(opened, sql)
    assert time.monotonic() - started < 20
    monkeypatch.undo()
    assert answer_table(opened, "SELECT 1 AS one")["rows"] == [["1"]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 40_000,
        "SELECT " + "(" * 101 + "1" + ")" * 101,
        "SELECT " + "1 + " * 20_000 + "1",
        "SELECT '" + "x" * 90_000,
        "SELECT " + "NOT " * 20_000 + "true",
    ],
    ids=["open brackets", "brackets", "sum", "text", "not"],
)
def test_a_very_long_statement_is_refused_and_the_server_stays(opened: Catalog, sql: str) -> None:
    with pytest.raises(QueryError) as caught:
        answer_table(opened, sql)
    assert len(str(caught.value)) < 1_000
    assert answer_table(opened, "SELECT 1 AS one")["rows"] == [["1"]]


@pytest.mark.thorough("serves a live page")
def test_a_query_that_needs_too_much_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"memory_limit": "50MB", "max_temp_directory_size": "1MB", "threads": "1"}
    monkeypatch.setattr(live_catalog_module, "LIMITED_SETTINGS", small)
    live = LiveCatalog(Store(tmp_path / "store"), tmp_path)
    live.refresh()
    catalog = live.use(lambda opened: opened, wait_s=1)
    with pytest.raises(QueryError, match="Out of Memory"):
        answer_table(catalog, "SELECT list(range) AS l FROM range(20000000)")
    assert answer_table(catalog, "SELECT 1 AS one")["rows"] == [["1"]]
    live.close()


def test_a_long_value_is_shortened_in_the_page(opened: Catalog) -> None:
    ((value,),) = answer_table(opened, "SELECT repeat('x', 100000) AS x")["rows"]  # type: ignore[misc, union-attr]
    assert len(value) == query_answers.MAX_CELL_LENGTH  # type: ignore[arg-type]
