"""What the tests of models share."""

from collections.abc import Callable, Iterator

import pytest

from mlprune.parallel import use_threads


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Lets a test choose how many pieces are worked on side by side."""
    use_threads(1)
    yield use_threads
    use_threads(1)
