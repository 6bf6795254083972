"""Fixtures for tests of models."""

from collections.abc import Callable, Iterator

import pytest

from mlprune.processes.parallel import set_worker_threads


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Let a test set the number of worker threads."""
    set_worker_threads(1)
    yield set_worker_threads
    set_worker_threads(1)
