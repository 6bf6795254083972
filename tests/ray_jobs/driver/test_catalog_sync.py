"""A run does not depend on its catalog."""

import logging
from pathlib import Path

import duckdb
import pytest

from catalog.store import Catalog
from mlprune.store.store import Store
from ray_jobs.driver import catalog_sync
from ray_jobs.driver.catalog_sync import CatalogSync, fold


def test_too_little_memory_for_the_catalog_is_said_and_no_other_error_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    error: Exception = duckdb.OutOfMemoryException("Out of Memory Error: Failed to allocate block of 16384 bytes")

    def failing(_: Catalog) -> None:
        raise error

    monkeypatch.setattr(Catalog, "fold", failing)
    with caplog.at_level(logging.WARNING):
        fold(Store(tmp_path))
    assert "too little memory to bring the catalog up to date" in caplog.text
    error = duckdb.BinderException("Binder Error: no such column")
    with pytest.raises(duckdb.BinderException):
        fold(Store(tmp_path))


def test_while_somebody_holds_the_catalog_a_run_tries_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, is_held, folded_at = 0.0, True, []

    def folds(_: Store) -> bool:
        folded_at.append(now)
        return not is_held

    monkeypatch.setattr(catalog_sync, "fold", folds)
    monkeypatch.setattr(catalog_sync.time, "monotonic", lambda: now)
    some = CatalogSync(Store(tmp_path))
    for second in range(1200):
        now, is_held = float(second), second < 900
        some.maybe_fold()
    assert folded_at == [15, 45, 105, 225, 465, 705, 945, 960, *range(975, 1200, 15)]
