"""Fixtures of pretended GPUs: one thread, and one folder per family with a model of several blocks."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from mlprune.processes.parallel import set_worker_threads
from tests.pretended_gpus.operations import N_BLOCKS
from tests.tiny_models import save_tiny_model


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Use one thread, as in a worker: several would wait for each other in tiny products."""
    set_worker_threads(1)


@pytest.fixture(scope="package")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Family -> folder of its model."""
    return cache(lambda family: save_tiny_model(tmp_path_factory.mktemp(family), family, seed=3, blocks=N_BLOCKS))
