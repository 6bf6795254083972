"""The private catalog of a store that other processes write to."""

import threading
import time
from pathlib import Path

import duckdb
import pytest

from catalog.store import Catalog
from catalog.store.connections import QueryLimitError, QueryLimits
from catalog.store.database_file import FILE_NAME
from catalog.store.live_catalog import LiveCatalog, select_limited
from mlprune.errors import QueryError
from mlprune.store.store import Store
from tests.catalog.store_processes import small_record

pytestmark = pytest.mark.thorough("fills and folds catalogs of its own")

LIMITS = QueryLimits(5.0, 100)
COUNT = "SELECT count(*) AS n FROM base_models"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "private"
    path.mkdir()
    return path


def count(live: LiveCatalog) -> int:
    result = live.use(lambda catalog: select_limited(catalog, COUNT, {}, limits=LIMITS), wait_s=1)
    return int(result.rows[0][0])


def test_new_records_are_seen_after_a_refresh_and_nothing_is_written_to_the_store(tmp_path: Path, folder: Path) -> None:
    store = Store(tmp_path / "store")
    live = LiveCatalog(store, folder)
    with pytest.raises(QueryLimitError, match="not been read"):
        count(live)
    assert live.refresh()
    assert count(live) == 0
    store.write_record(small_record(1))
    assert count(live) == 0
    assert live.refresh()
    assert not live.refresh()
    assert count(live) == 1
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["records"]
    live.close()


def test_the_first_refresh_starts_from_the_catalog_of_the_store_while_another_process_has_it(
    store: Store, folder: Path
) -> None:
    assert store.local_root is not None
    store.write_record(small_record(7))
    with Catalog.open(store) as catalog:
        n_before = catalog.query(COUNT)[0]["n"]
    with duckdb.connect(str(store.local_root / FILE_NAME)):  # as a driver that folds
        live = LiveCatalog(store, folder)
        assert live.refresh()
        assert count(live) == n_before > 1
    live.close()


def test_a_refresh_waits_for_queries_and_queries_wait_for_a_refresh(tmp_path: Path, folder: Path) -> None:
    store = Store(tmp_path / "store")
    live = LiveCatalog(store, folder)
    live.refresh()
    store.write_record(small_record(1))
    used, may_end = threading.Event(), threading.Event()

    def use_long(_: Catalog) -> None:
        used.set()
        assert may_end.wait(20)

    reader = threading.Thread(target=lambda: live.use(use_long, wait_s=1))
    reader.start()
    assert used.wait(20)
    assert count(live) == 0  # a second query at the same time
    writer = threading.Thread(target=live.refresh)
    writer.start()
    while live._access._n_exclusive == 0:  # until the refresh waits
        time.sleep(0.005)
    with pytest.raises(QueryLimitError, match="being read"):
        live.use(lambda _: None, wait_s=0.01)
    may_end.set()
    for thread in (reader, writer):
        thread.join(20)
    assert count(live) == 1
    live.close()


def test_many_threads_query_while_records_arrive(tmp_path: Path, folder: Path) -> None:
    store = Store(tmp_path / "store")
    live = LiveCatalog(store, folder)
    live.refresh()
    seen: list[list[int]] = [[], [], []]
    is_over = threading.Event()

    def ask(answers: list[int]) -> None:
        while not is_over.is_set():
            answers.append(live.use(lambda catalog: int(catalog.query(COUNT)[0]["n"]), wait_s=20))

    threads = [threading.Thread(target=ask, args=(answers,)) for answers in seen]
    for thread in threads:
        thread.start()
    for number in range(4):
        store.write_record(small_record(number))
        assert live.refresh()
    is_over.set()
    for thread in threads:
        thread.join(20)
    assert all(answers == sorted(answers) for answers in seen)
    assert count(live) == 4
    live.close()


def test_the_connection_has_limits_that_a_query_cannot_change(tmp_path: Path, folder: Path) -> None:
    live = LiveCatalog(Store(tmp_path / "store"), folder)
    live.refresh()
    names = "('threads', 'enable_external_access', 'lock_configuration')"
    sql = f"SELECT name, value FROM duckdb_settings() WHERE name IN {names}"
    result = live.use(lambda catalog: select_limited(catalog, sql, {}, limits=LIMITS), wait_s=1)
    assert dict(result.rows) == {"threads": "2", "enable_external_access": "false", "lock_configuration": "true"}
    with pytest.raises(QueryError):
        live.use(lambda catalog: select_limited(catalog, "SET threads = 64", {}, limits=LIMITS), wait_s=1)
    live.close()


def test_refreshes_and_queries_leave_no_open_files(tmp_path: Path, folder: Path) -> None:
    store = Store(tmp_path / "store")
    live = LiveCatalog(store, folder)
    live.refresh()
    count(live)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(4):
        store.write_record(small_record(number))
        live.refresh()
        count(live)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    live.close()
