"""What the tests of models share."""

from collections.abc import Callable, Iterator

import pytest

from mlprune.parallel import set_worker_threads


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Lets a test choose how many pieces are worked on side by side."""
    set_worker_threads(1)
    yield set_worker_threads
    set_worker_threads(1)
