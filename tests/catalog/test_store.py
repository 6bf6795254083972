import errno
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow.fs as pafs
import pytest

from catalog.ingest.fold import FoldResult, update_schema
from catalog.store import LOCK_TIMEOUT_S, Catalog, database_file, rebuild
from catalog.store.connections import READABLE_FROM
from catalog.store.database_file import FILE_NAME
from mlprune.errors import EarlierVersionError, QueryError, StoreError
from mlprune.store.record_kinds import table_of
from mlprune.store.records import Record, identity
from mlprune.store.store import Store
from tests.catalog.store_processes import held_by_another_process
from tests.catalog_data import SPARSITIES
from tests.earlier_versions import text_of_version_0_1
from tests.records import made_up_record
from tests.refusals import refused

COUNT = "SELECT count(*) AS n FROM records"


def catalog_file(store: Store) -> Path:
    assert store.local_root is not None
    return store.local_root / "catalog.duckdb"


def make_old(path: Path) -> None:
    """Give a catalog file a schema of an earlier version: other columns, and a table and a view that are gone today."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE schema_version SET version = 0")
        connection.execute("CREATE OR REPLACE TABLE variants (variant_id VARCHAR PRIMARY KEY, gone INTEGER)")
        connection.execute("CREATE TABLE gone (n INTEGER)")
        connection.execute("INSERT INTO schema_objects VALUES ('TABLE', 'gone', ''), ('VIEW', 'gone_view', '')")
        connection.execute("CREATE VIEW gone_view AS FROM gone")


def write_small_record(store: Store, n: int = 0) -> Record:
    parameters = {"small": n}
    record_id = identity("base_models", step_version=1, parameters=parameters)
    row = {"base_model_id": record_id, "source": f"small-{n}", "family": "gpt2", "n_blocks": 1, "hidden_size": 4}
    record = Record("base_models", record_id, 1, parameters, rows={"base_models": [{**row, "n_prunable": 16}]})
    store.write_record(record)
    return record


@pytest.fixture(scope="module")
def folded_few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folded store of two records; tests do not change it."""
    store = Store(tmp_path_factory.mktemp("few") / "store")
    write_small_record(store, 1)
    write_small_record(store, 2)
    with Catalog.open(store) as catalog:
        catalog.fold()
    return Path(store.uri)


@pytest.fixture
def few(folded_few: Path, tmp_path: Path) -> Store:
    """A copy of the store of two records, which a test may change."""
    return Store(shutil.copytree(folded_few, tmp_path / "few"))


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_fold_inserts_every_record_and_every_row(filled: Store, rows: dict[str, list[dict[str, object]]]) -> None:
    with Catalog.in_memory(filled) as catalog:
        result = catalog.fold()
        counts = {name: found[0] for name, found in catalog.fingerprints().items()}
    assert result.n_records == len(filled.record_names())
    n_texts = 2 * len(rows["demonstration_sets"])
    assert counts["demonstrations"] == n_texts
    assert result.n_rows == n_texts + sum(len(found) for found in rows.values())
    assert {name: counts[table_of(name)] for name in rows} == {name: len(found) for name, found in rows.items()}


def test_a_second_fold_does_nothing_and_does_not_touch_the_file(few: Store) -> None:
    before = catalog_file(few).read_bytes()
    with Catalog.open(few) as catalog:
        result = catalog.fold()
    assert (result.n_records, result.n_rows, result.persisted) == (0, 0, True)
    assert catalog_file(few).read_bytes() == before


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_fold_adds_only_what_is_missing(store: Store) -> None:
    write_small_record(store)
    with Catalog.open(store) as catalog:
        result = catalog.fold()
        assert catalog.query("SELECT source FROM base_models ORDER BY source") == [
            {"source": "small-0"},
            {"source": "tiny"},
        ]
    assert (result.n_records, result.n_rows, result.persisted) == (1, 1, True)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_fold_after_the_removal_of_a_record_equals_a_rebuilt_catalog(store: Store) -> None:
    gone = next(store.records("evaluations"))
    store.quarantine(gone)
    write_small_record(store)
    with Catalog.open(store) as catalog, Catalog.in_memory(store) as fresh:
        assert catalog.fold().persisted
        assert catalog.fingerprints() == fresh.fingerprints()
        found = catalog.query("SELECT count(*) AS n FROM metrics WHERE evaluation_id = $id", {"id": gone.id})
    assert found == [{"n": 0}]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_folding_in_another_order_gives_an_equal_catalog(tmp_path: Path) -> None:
    """Two records with the same key: their order must not matter."""
    results = []
    for order in ((1, 2), (2, 1)):
        store = Store(tmp_path / f"store-{order[0]}")
        with Catalog.open(store) as catalog:
            for n_items in order:
                row = {"variant_id": "v", "task": "facts", "language": "fr", "reference_language": "en"}
                row |= {"split": "dev", "value": 0.5, "n_items": n_items}
                parameters = {"n": n_items}
                store.write_record(made_up_record("rank_consistency", parameters, rows={"rank_consistency": [row]}))
                catalog.fold()
            results.append(catalog.fingerprints())
            assert catalog.query("SELECT n_items FROM rank_consistency") == [{"n_items": 2}]
    assert results[0] == results[1]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_record_that_does_not_fit_its_table_is_skipped_and_the_others_are_folded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    write_small_record(store, 1)
    parameters = {"wrong": True}
    record_id = identity("base_models", step_version=1, parameters=parameters)
    row = {"base_model_id": record_id, "n_blocks": "many"}
    store.write_record(Record("base_models", record_id, 1, parameters, rows={"base_models": [row]}))
    with Catalog.open(store) as catalog:
        assert catalog.fold().n_records == 1
        assert catalog.query("SELECT source FROM base_models") == [{"source": "small-1"}]
    assert record_id in caplog.text


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_file_that_a_writer_has_open_is_answered_from_a_copy_after_a_short_wait(
    few: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_record(few)
    n_read: list[int] = []
    each_record = Store.each_record

    def counting(self: Store, ids: Mapping[str, frozenset[str]]) -> Iterator[Record]:
        n_read.append(sum(map(len, ids.values())))
        return each_record(self, ids)

    monkeypatch.setattr(Store, "each_record", counting)
    with held_by_another_process(catalog_file(few), read_only=False), Catalog.open(few) as catalog:
        started_at = time.monotonic()
        result = catalog.fold()
        elapsed_s = time.monotonic() - started_at
        assert not result.persisted
        assert LOCK_TIMEOUT_S <= elapsed_s < LOCK_TIMEOUT_S + 100
        assert catalog.query(COUNT) == [{"n": len(few.record_names())}]
    assert sum(n_read) == 1
    with Catalog.open(few) as catalog:
        assert catalog.fold().persisted


def test_a_file_that_a_reader_has_open_can_be_read_if_nothing_is_missing(few: Store) -> None:
    with held_by_another_process(catalog_file(few), read_only=True), Catalog.open(few) as catalog:
        assert catalog.fold().persisted
        assert catalog.query(COUNT) == [{"n": len(few.record_names())}]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_folder_that_cannot_be_written_is_answered_from_memory() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        write_small_record(store)
        Path(folder).chmod(0o555)
        user = os.geteuid()
        try:
            if user == 0:
                os.seteuid(65534)
            with Catalog.open(store) as catalog:
                assert not catalog.fold().persisted
                assert catalog.query(COUNT) == [{"n": 1}]
        finally:
            os.seteuid(user)
            Path(folder).chmod(0o755)
        assert not catalog_file(store).exists()


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize("damage", ["no database", "cut off", "flipped bytes"])
def test_a_damaged_file_is_moved_away_and_built_again(
    few: Store, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = catalog_file(few)
    data = bytearray(path.read_bytes())
    if damage == "flipped bytes":
        data[3 * 4096 :: 1000] = bytes(byte ^ 255 for byte in data[3 * 4096 :: 1000])
    path.write_bytes({"no database": b"hello" * 1000, "cut off": bytes(data[:20000])}.get(damage, bytes(data)))
    with caplog.at_level(logging.WARNING), Catalog.open(few) as catalog:
        assert catalog.fold().persisted
        assert catalog.query(COUNT) == [{"n": len(few.record_names())}]
    assert path.with_name("catalog.duckdb.damaged-1").exists()
    assert "catalog.duckdb.damaged-1" in caplog.text


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_new_file_can_be_read_by_the_oldest_duckdb_that_the_package_runs_with(tmp_path: Path) -> None:
    (oldest,) = re.findall(r'"duckdb>=([\d.]+)"', (Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert [int(part) for part in READABLE_FROM[1:].split(".")] <= [int(part) for part in f"{oldest}.0".split(".")]
    store = Store(tmp_path)
    write_small_record(store)
    for make in (lambda: Catalog.open(store).fold(), lambda: rebuild(store)):
        assert make().persisted
        with duckdb.connect(str(catalog_file(store)), read_only=True) as connection:
            (tags,) = connection.execute("SELECT tags FROM duckdb_databases() WHERE path IS NOT NULL").fetchone() or ()
        assert tags == {"storage_version": f"{READABLE_FROM}+"}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_file_with_the_log_of_another_one_is_moved_away_and_built_again(few: Store, tmp_path: Path) -> None:
    """The situation after a user copies a file over one whose writer was killed."""
    path, other = catalog_file(few), tmp_path / "other.duckdb"
    code = (
        f"import duckdb, os; c = duckdb.connect({str(other)!r}); c.execute('CREATE TABLE t (n INTEGER)'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    Path(f"{other}.wal").rename(f"{path}.wal")
    with Catalog.open(few) as catalog:
        assert catalog.fold().persisted
        assert catalog.query(COUNT) == [{"n": len(few.record_names())}]
    names = {one.name for one in path.parent.glob("catalog*")}
    assert names == {"catalog.duckdb", "catalog.duckdb.damaged-1", "catalog.duckdb.damaged-1.wal"}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_rebuild_replaces_the_file_by_an_equal_one(few: Store) -> None:
    with Catalog.open(few) as catalog:
        before = catalog.fingerprints()
    result = rebuild(few)
    assert (result.n_records, result.persisted) == (len(few.record_names()), True)
    with Catalog.open(few) as catalog:
        assert catalog.fold().n_records == 0
        assert catalog.fingerprints() == before
    assert few.local_root is not None
    assert [path.name for path in few.local_root.glob("catalog*")] == ["catalog.duckdb"]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_snapshot_id_depends_on_the_records_and_nothing_else(store: Store) -> None:
    with Catalog.open(store) as catalog, Catalog.in_memory(store) as fresh:
        before = catalog.snapshot_id()
        assert re.fullmatch("[0-9a-f]{20}", before)
        assert fresh.snapshot_id() == before
        store.write_run_file("run-2", "job-0", {"run_id": "run-2", "job_id": "job-0", "status": "lost"})
        catalog.fold()
        assert catalog.snapshot_id() == before
        added = write_small_record(store)
        catalog.fold()
        assert catalog.snapshot_id() != before
        store.quarantine(added)
        catalog.fold()
        assert catalog.snapshot_id() == before


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_snapshot_id_depends_on_the_bytes_of_an_artefact(store: Store) -> None:
    record = next(store.records("evaluations"))
    with Catalog.open(store) as catalog:
        before = catalog.snapshot_id()
    changed = replace(record, artefacts=(replace(record.artefacts[0], sha256="0" * 64), *record.artefacts[1:]))
    store.write_record(changed)
    with Catalog.in_memory(store) as catalog:
        assert catalog.snapshot_id() != before


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), duckdb.IOException("full")])
def test_a_rebuild_on_a_full_disk_is_one_line_and_keeps_the_old_file(
    few: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    assert few.local_root is not None
    with Catalog.open(few) as catalog:
        catalog.fold()
    before = (few.local_root / FILE_NAME).read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(database_file, "update_connection", fail)
    with pytest.raises(StoreError) as caught:
        rebuild(few)
    assert caught.value.context["path"] == str(few.local_root / FILE_NAME)
    assert (few.local_root / FILE_NAME).read_bytes() == before
    assert not list(few.local_root.glob("*.rebuilding-*"))


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_rebuild_is_refused_while_a_process_writes(few: Store) -> None:
    with (
        held_by_another_process(catalog_file(few), read_only=False),
        pytest.raises(StoreError, match="the catalog file is in use"),
    ):
        rebuild(few)


def remote_like(store: Store) -> Store:
    """The same files through a file system that is not the local one."""
    store._files = pafs.SubTreeFileSystem("/", pafs.LocalFileSystem())
    store.is_local = False
    store._root = store._root.lstrip("/")
    assert store.local_root is None
    return store


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_remote_store_is_folded_into_a_cache_that_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = Store(tmp_path / "store")
    write_small_record(store)
    with Catalog.open(remote_like(store)) as catalog:
        assert catalog.fold().persisted
        assert catalog.query(COUNT) == [{"n": 1}]
        assert catalog.path is not None
    assert catalog.path.is_relative_to(tmp_path / "cache")
    with Catalog.open(store) as again:
        assert again.fold() == FoldResult(n_records=0, n_rows=0, persisted=True)
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["records"]


def test_without_a_cache_a_remote_store_is_folded_into_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    store = Store(tmp_path / "store")
    write_small_record(store)
    with Catalog.open(remote_like(store)) as catalog:
        assert catalog.fold().persisted
        assert catalog.path is not None
        assert catalog.path.exists()
    assert not catalog.path.exists()
    with pytest.raises(StoreError, match="no cache folder"):
        rebuild(store)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_catalog_that_lacks_a_table_is_filled_again(store: Store) -> None:
    with duckdb.connect(str(catalog_file(store))) as connection:
        connection.execute("DROP TABLE failures")
    with Catalog.open(store) as catalog, Catalog.in_memory(store) as fresh:
        assert catalog.fold().n_records == len(store.record_names())
        assert catalog.query("SELECT count(*) AS n FROM failures") == [{"n": 1}]
        assert catalog.fingerprints() == fresh.fingerprints()


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_catalog_of_another_version_is_filled_again_by_the_next_fold(store: Store) -> None:
    make_old(catalog_file(store))
    with Catalog.open(store) as catalog, Catalog.in_memory(store) as fresh:
        result = catalog.fold()
        assert (result.n_records, result.persisted) == (len(store.record_names()), True)
        assert len(catalog.query("SELECT * FROM described_variants")) == len(store.record_names("variants"))
        assert catalog.fingerprints() == fresh.fingerprints()
        assert catalog.query("SELECT table_name FROM duckdb_tables() WHERE table_name = 'gone'") == []


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE schema_version; DROP VIEW internal.comparisons; CREATE TABLE internal.comparisons (n INTEGER)",
        "UPDATE schema_version SET version = 1; DROP TABLE metrics; CREATE VIEW metrics AS SELECT 1 AS n",
        "CREATE OR REPLACE TABLE schema_version (number INTEGER)",
    ],
)
def test_a_catalog_with_objects_of_another_layout_is_moved_away_and_built_again_once(
    few: Store, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    with duckdb.connect(str(catalog_file(few))) as connection:
        connection.execute(statement)
    for _ in range(2):
        with caplog.at_level(logging.WARNING), Catalog.open(few) as catalog:
            assert catalog.fold().persisted
            assert catalog.query(COUNT) == [{"n": len(few.record_names())}]
        assert len(caplog.records) == 1
    assert catalog_file(few).with_name("catalog.duckdb.damaged-1").exists()


def test_a_command_killed_after_it_moved_a_catalog_away_leaves_a_store_that_the_next_one_repairs(few: Store) -> None:
    path = catalog_file(few)
    path.with_name("catalog.duckdb.wal").write_bytes(b"the log of the catalog that was moved")
    path.rename(path.with_name("catalog.duckdb.damaged-1"))
    with Catalog.open(few) as catalog:
        assert catalog.fold().persisted
        assert catalog.query(COUNT) == [{"n": len(few.record_names())}]


def test_a_catalog_of_a_newer_duckdb_is_moved_away_and_built_again(few: Store) -> None:
    data = bytearray(catalog_file(few).read_bytes())
    data[12:20] = (9999).to_bytes(8, "little")  # the version of the file format
    catalog_file(few).write_bytes(data)
    with Catalog.open(few) as catalog:
        assert catalog.fold().persisted
    assert catalog_file(few).with_name("catalog.duckdb.damaged-1").read_bytes() == data


def test_a_fold_and_a_query_refuse_a_store_with_a_record_of_version_0_1(few: Store) -> None:
    old = made_up_record("base_models", {"old": 1})
    few.write_bytes(old.path, text_of_version_0_1(old))
    with Catalog.open(few) as catalog:
        for use in (catalog.fold, lambda: catalog.query(COUNT)):
            with refused(EarlierVersionError, record=old.path):
                use()


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_fold_killed_right_after_new_tables_leaves_nothing_that_counts_as_folded(few: Store) -> None:
    make_old(catalog_file(few))
    with duckdb.connect(str(catalog_file(few))) as connection:
        update_schema(connection)
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (0,)
    with Catalog.open(few) as catalog:
        assert catalog.fold().n_records == len(few.record_names())


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_catalog_of_a_newer_version_is_left_alone(few: Store) -> None:
    with duckdb.connect(str(catalog_file(few))) as connection:
        connection.execute("UPDATE schema_version SET version = 9999")
    before = catalog_file(few).read_bytes()
    with Catalog.open(few) as catalog:
        assert not catalog.fold().persisted
        assert catalog.query(COUNT) == [{"n": len(few.record_names())}]
    assert catalog_file(few).read_bytes() == before


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_run_files_become_jobs_and_failures_as_they_appear(store: Store) -> None:
    with Catalog.open(store) as catalog:
        assert catalog.query("SELECT status, count(*) AS n FROM jobs GROUP BY status ORDER BY status") == [
            {"status": "done", "n": 3},
            {"status": "failed", "n": 1},
        ]
        job = {"run_id": "run-2", "job_id": "job-0", "status": "lost", "started_at": "2026-03-01T10:00:00+00:00"}
        store.write_run_file("run-2", "job-0", job)
        assert catalog.fold().n_records == 0
        found = catalog.query("SELECT run_file, started_at::VARCHAR AS at FROM jobs WHERE status = 'lost'")
    assert found == [{"run_file": "runs/run-2/job-0.json", "at": "2026-03-01 10:00:00"}]


def test_the_catalog_lists_its_foreign_keys(catalog: Catalog) -> None:
    found = catalog.query(
        "SELECT * FROM foreign_keys WHERE table_name = 'comparison_results' AND column_name = 'baseline_id'"
    )
    assert found == [
        {
            "table_name": "comparison_results",
            "column_name": "baseline_id",
            "parent_table": "variants",
            "parent_column": "variant_id",
        }
    ]


def test_every_table_has_a_primary_key(catalog: Catalog) -> None:
    sql = "SELECT table_name FROM duckdb_tables() WHERE NOT has_primary_key"
    assert catalog.query(sql) == []


@pytest.fixture(scope="module", params=["file", "memory"])
def small_catalog(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """A catalog of one record, once in its file and once in memory."""
    store = Store(tmp_path_factory.mktemp("small") / "store")
    write_small_record(store)
    with Catalog.open(store) as opened:
        opened.fold()
    with Catalog.in_memory(store) if request.param == "memory" else Catalog.open(store) as opened:
        yield opened


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM records",
        "WITH gone AS (SELECT 1) DELETE FROM records",
        "CREATE TABLE mine (n INTEGER)",
        "EXPLAIN ANALYZE DELETE FROM records",
        "SELECT 1; DELETE FROM records",
        "COMMIT",
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM glob('/*')",
        "COPY records TO '{file}.copy'",
        "ATTACH '{file}.attached' AS other",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELECT * FROM values_of_this_test",
    ],
)
def test_a_question_can_neither_write_nor_access_anything_outside(
    small_catalog: Catalog, tmp_path: Path, sql: str
) -> None:
    values_of_this_test = [1, 2, 3]
    assert values_of_this_test
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    before = catalog_file(small_catalog.store).read_bytes()
    with pytest.raises(QueryError):
        small_catalog.query(sql.format(file=secret))
    assert small_catalog.query(COUNT) == [{"n": 1}]
    assert catalog_file(small_catalog.store).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


def test_a_parameter_is_a_value_and_never_sql(catalog: Catalog) -> None:
    text = "'; DROP TABLE records; SELECT '1' OR '1' = '1"
    assert catalog.query("SELECT $text AS text", {"text": text}) == [{"text": text}]
    assert catalog.query("SELECT id FROM records WHERE kind = $text", {"text": text}) == []


@pytest.mark.parametrize(
    ("sql", "parameters", "message"),
    [
        ("SELECT $a AS a", {}, "a parameter is missing"),
        ("SELECT 1 AS a", {"b": 2}, "a parameter is unknown"),
        ("SELEC 1", {}, "syntax error"),
        ("SELECT nothing FROM records", {}, "nothing"),
        ("", {}, "one statement"),
        ("PIVOT metrics ON language USING avg(value)", {}, r"PIVOT .* ON column IN \(value"),
        ("SELECT 1 AS a, 2 AS a", {}, "two columns have the same name"),
    ],
)
def test_a_wrong_question_is_an_error_in_one_line_with_the_reason(
    catalog: Catalog, *, sql: str, parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        catalog.query(sql, parameters)
    assert "\n" not in str(caught.value)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_first_question_folds_the_catalog(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_small_record(store)
    with Catalog.open(store) as catalog:
        assert catalog.query(COUNT) == [{"n": 1}]
    assert catalog_file(store).exists()


def test_sparsities_are_stored_as_given(catalog: Catalog) -> None:
    found = catalog.query("SELECT DISTINCT sparsity FROM variants WHERE sparsity > 0 ORDER BY sparsity")
    assert [row["sparsity"] for row in found] == list(SPARSITIES)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_table_that_a_user_created_in_the_catalog_is_kept(store: Store) -> None:
    with duckdb.connect(str(catalog_file(store))) as connection:
        connection.execute("CREATE TABLE notes AS SELECT 'look at Swahili' AS note")
    lost = store.record_names("evaluations")[0]
    store.quarantine(store.require(*lost))
    with Catalog.open(store) as catalog:
        assert catalog.fold().n_records == len(store.record_names())
        assert catalog.query("SELECT note FROM notes") == [{"note": "look at Swahili"}]
