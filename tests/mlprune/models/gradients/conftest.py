"""Fixtures for tests of gradients."""

from pathlib import Path

import pytest

from tests.mlprune.models.gradients.gradient_reference import N_BLOCKS
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="package")
def xglm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny XGLM, which no test changes."""
    return save_tiny_model(tmp_path_factory.mktemp("xglm"), seed=3, blocks=N_BLOCKS)
