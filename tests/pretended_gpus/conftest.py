"""One thread, as in a worker: several would wait for each other in tiny products."""

import pytest

from mlprune.parallel import set_worker_threads


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    set_worker_threads(1)
