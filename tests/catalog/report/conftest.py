"""Stores for tests of the report: an empty one, and one whose names contain attacks on the page."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from catalog.report.page import render_page
from catalog.store import Catalog
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.catalog.report.reading import ATTACK

if TYPE_CHECKING:
    from tests.catalog.conftest import PageOnce


@pytest.fixture(scope="session")
def methods_page(methods_catalog: Catalog, page_once: "PageOnce") -> str:
    """The report of the store with variants of all other kinds."""
    return page_once("methods-page", lambda: render_page(methods_catalog))


@pytest.fixture(scope="session")
def empty_catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """The catalog of a store without a record."""
    with Catalog.in_memory(Store(tmp_path_factory.mktemp("nothing"))) as opened:
        yield opened


@pytest.fixture(scope="session")
def attacked_catalog(small_filled: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """The catalog of the small filled store, with Swahili and every name and message replaced by an attack."""
    store = Store(tmp_path_factory.mktemp("attacked"))
    for record in small_filled.records():
        rows = {table: [_attacked(row) for row in members] for table, members in record.rows.items()}
        _write_without_flush(store, dataclasses.replace(record, rows=rows, artefacts=()))
    failure = {"run_id": "run", "job_id": "1", "step": ATTACK, "record_kind": "variants", "record_id": ATTACK}
    failure |= {"error": ATTACK, "message": ATTACK, "attempts": "1", "failed_at": "2026-02-03T22:15:05"}
    store.write_run_file("run", "failure-1", failure)
    with Catalog.in_memory(store) as opened:
        yield opened


@pytest.fixture(scope="session")
def attacked_page(attacked_catalog: Catalog, page_once: "PageOnce") -> str:
    """The report of that catalog."""
    return page_once("attacked-page", lambda: render_page(attacked_catalog, title=ATTACK))


def _attacked(row: dict[str, Any]) -> dict[str, Any]:
    names = {"name", "source", "task", "recipe", "source_language"}
    return {
        key: ATTACK if value == "sw" else f"{value}{ATTACK}" if key in names and value else value
        for key, value in row.items()
    }


def _write_without_flush(store: Store, record: Record) -> None:
    assert store.local_root is not None
    path: Path = store.local_root / record.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record.to_json(), "utf-8")
