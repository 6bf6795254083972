"""A small store for the commands on stores."""

from pathlib import Path

import pytest

from mlprune.store.store import Store
from tests.mlprune.store.test_merge import add


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with three records."""
    store = Store(tmp_path / "store")
    for number in range(3):
        add(store, number, kind="mask_blocks")
    return store
