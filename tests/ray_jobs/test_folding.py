"""A run does not depend on its catalog."""

import logging
from pathlib import Path

import duckdb
import pytest

from catalog.store import Catalog
from mlprune.storage import Store
from ray_jobs.folding import fold


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
