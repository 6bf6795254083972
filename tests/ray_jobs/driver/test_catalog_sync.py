"""Updating the catalog during a run never stops the run."""

import logging
from pathlib import Path

import duckdb
import pytest

from catalog.store import Catalog
from mlprune.store.store import Store
from ray_jobs.driver import catalog_sync
from ray_jobs.driver.catalog_sync import CatalogSync, fold


def test_out_of_memory_in_a_fold_is_logged_and_other_errors_are_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    error: Exception = duckdb.OutOfMemoryException("Out of Memory Error: Failed to allocate block of 16384 bytes")

    def failing(_: Catalog) -> None:
        raise error

    monkeypatch.setattr(Catalog, "fold", failing)
    with caplog.at_level(logging.WARNING):
        assert not fold(Store(tmp_path))
    assert len(caplog.records) == 1
    error = duckdb.BinderException("Binder Error: no such column")
    with pytest.raises(duckdb.BinderException):
        fold(Store(tmp_path))


def test_folds_take_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, spent_s = 0.0, 0.0

    def slow_fold(_: Store) -> bool:
        nonlocal now, spent_s
        spent_s += 4.0
        now += 4.0
        return True

    monkeypatch.setattr(catalog_sync, "fold", slow_fold)
    monkeypatch.setattr(catalog_sync.time, "monotonic", lambda: now)
    catalog = CatalogSync(Store(tmp_path))
    while now < 10_000:
        now += 1.0
        catalog.maybe_fold()
    assert 0.04 < spent_s / now <= catalog_sync.MAX_FOLD_SHARE


def test_the_interval_grows_while_another_process_locks_the_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, is_locked, folded_at = 0.0, True, []

    def fake_fold(_: Store) -> bool:
        folded_at.append(now)
        return not is_locked

    monkeypatch.setattr(catalog_sync, "fold", fake_fold)
    monkeypatch.setattr(catalog_sync.time, "monotonic", lambda: now)
    catalog = CatalogSync(Store(tmp_path))
    for second in range(1200):
        now, is_locked = float(second), second < 900
        catalog.maybe_fold()
    assert folded_at == [15, 45, 105, 225, 465, 705, 945, 960, *range(975, 1200, 15)]
