"""A finished store, as a run leaves it."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import mlprune
from mlprune.api import OpenStore
from mlprune.store.store import Store
from ray_jobs.driver.run_log import RecordedRecipe, begin_run

if TYPE_CHECKING:
    from tests.tiny_recipes import FinishedRun


@pytest.fixture(scope="session")
def filled_folder(small_run: "FinishedRun", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the small recipe with its catalog. Tests must not change it: copy it first."""
    assert small_run.store.local_root is not None
    folder = shutil.copytree(small_run.store.local_root, tmp_path_factory.mktemp("api") / "store")
    plan = small_run.plan
    models = {model.base_model_id: model.path for model in plan.models}
    begin_run(Store(folder), "run", recipe=RecordedRecipe("tiny", plan.record.id, None, models))
    mlprune.open(folder).refresh()
    return folder


@pytest.fixture(scope="session")
def opened(filled_folder: Path) -> OpenStore:
    """The filled store, open for reading."""
    return mlprune.open(filled_folder)
