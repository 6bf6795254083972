"""Processes that answer queries and render reports."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Timer

import pytest

from catalog.capabilities.live import report_child
from catalog.capabilities.live.query_child import QueryChildren
from catalog.capabilities.live.report_child import render, render_in_child
from catalog.report.page import render_page
from catalog.results import visible
from catalog.store import Catalog
from catalog.store.connections import QueryLimitError
from catalog.store.live_catalog import LiveCatalog
from mlprune.errors import QueryError, StoreError
from mlprune.store.store import Store
from tests.catalog.capabilities.live.asgi import PATIENCE_S
from tests.catalog.store_processes import small_record

ENDLESS_PLANNING = (
    "WITH a0 AS (SELECT * FROM range(2)), "
    + ", ".join(f"a{i} AS (SELECT x.* FROM a{i - 1} AS x, a{i - 1} AS y)" for i in range(1, 200))
    + " SELECT 1 FROM a199"
)
"""The plan has 2^199 joins. DuckDB does not notice an interrupt while it plans."""


def rows(queries: QueryChildren, sql: str) -> object:
    return json.loads(queries.answer(sql))["rows"]


@pytest.fixture
def impatient(live_catalog: LiveCatalog, small_filled: Store) -> Iterator[QueryChildren]:
    children = QueryChildren(live_catalog, small_filled.uri, seconds=1.0)
    yield children
    children.close()


def test_a_child_stays_for_the_next_query_also_after_an_error(queries: QueryChildren) -> None:
    assert rows(queries, "SELECT 1 AS one") == [["1"]]
    before = set(queries._children)
    with pytest.raises(QueryError) as caught:
        queries.answer("SELECT nothing FROM metrics")
    assert "nothing" in str(caught.value.context["reason"])
    assert rows(queries, "best_by_language")
    assert queries.answer("SELECT 1 AS one", "csv") == b"one\n1\n"
    assert set(queries._children) == before


@pytest.mark.thorough("serves a live page")
def test_planning_without_an_end_is_killed_and_the_next_query_is_answered(impatient: QueryChildren) -> None:
    with pytest.raises(QueryLimitError) as caught:
        impatient.answer(ENDLESS_PLANNING)
    assert caught.value.context == {"expected": "at most 1 s"}
    assert not impatient._children
    impatient._seconds = PATIENCE_S
    assert rows(impatient, "SELECT 1 AS one") == [["1"]]


def test_a_value_that_does_not_fit_into_memory_is_refused(queries: QueryChildren) -> None:
    with pytest.raises(QueryError):
        queries.answer("SELECT length(repeat('x', 4000000000)) AS n")
    assert rows(queries, "SELECT 1 AS one") == [["1"]]


@pytest.mark.thorough("serves a live page")
def test_new_records_are_seen_and_the_child_writes_nothing(tmp_path: Path) -> None:
    store, folder = Store(tmp_path / "store"), tmp_path / "private"
    folder.mkdir()
    store.write_record(small_record(1))
    live = LiveCatalog(store, folder)
    live.refresh()
    children = QueryChildren(live, store.uri, seconds=PATIENCE_S)
    assert rows(children, "SELECT count(*) AS n FROM base_models") == [["1"]]
    store.write_record(small_record(2))
    assert rows(children, "SELECT count(*) AS n FROM base_models") == [["1"]]
    live.refresh()
    assert rows(children, "SELECT count(*) AS n FROM base_models") == [["2"]]
    children.close()
    live.close()
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["records"]


def test_closing_ends_a_query_that_runs(live_catalog: LiveCatalog, small_filled: Store) -> None:
    children = QueryChildren(live_catalog, small_filled.uri, seconds=3600)
    errors: list[Exception] = []

    def ask() -> None:
        try:
            children.answer(ENDLESS_PLANNING)
        except QueryLimitError as err:
            errors.append(err)

    asking = threading.Thread(target=ask)
    asking.start()
    while not children._children:
        assert asking.is_alive()
    (child,) = children._children
    children.close()
    asking.join(PATIENCE_S)
    assert len(errors) == 1
    assert child.poll() is not None
    with pytest.raises(QueryLimitError, match="stopping"):
        children.answer("SELECT 1")


@pytest.mark.thorough("serves a live page")
def test_a_report_of_the_store_is_rendered_from_a_private_copy(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    out = tmp_path / "out" / "report.html"
    out.parent.mkdir()
    render(store.uri, out)
    with Catalog.in_memory(store) as catalog:
        assert out.read_text("utf-8") == visible(render_page(catalog))
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    assert not (tmp_path / "store").exists()


def test_a_child_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_child.sys, "executable", "/bin/false")
    with pytest.raises(StoreError, match="cannot be rendered"):
        render_in_child("nothing")(tmp_path / "out.html", Event())


def test_a_child_is_ended_when_the_server_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(report_child.sys, "executable", str(program))
    stopped = Event()
    Timer(0.1, stopped.set).start()
    started = time.monotonic()
    render_in_child("nothing")(tmp_path / "out.html", stopped)
    assert time.monotonic() - started < 50
