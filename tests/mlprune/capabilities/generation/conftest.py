"""A finished run with texts that the model wrote itself."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.store.store import Store
from tests.mlprune.capabilities.generation.own_texts import WANDA, written


@pytest.fixture(scope="package")
def finished(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, Any]]:
    store = Store(tmp_path_factory.mktemp("generated"))
    return store, written(tiny_inputs, store, variants=(WANDA,))
