"""Opening an existing store for a command."""

from pathlib import Path

import pytest

from mlprune.errors import StoreError
from ray_jobs.cli.options import existing_store
from tests.tiny_recipes import FinishedRun


def test_a_store_with_records_is_opened(small_run: FinishedRun) -> None:
    assert existing_store(small_run.store.uri).record_names() == small_run.store.record_names()


def test_a_store_without_records_is_bad_input_and_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        existing_store(str(tmp_path / "nothing"))
    assert caught.value.context["store"] == str(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
