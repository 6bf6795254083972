"""Fixtures for tests of models."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mlprune.processes.parallel import set_worker_threads
from tests.tiny_models import save_tiny_model


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Let a test set the number of worker threads."""
    set_worker_threads(1)
    yield set_worker_threads
    set_worker_threads(1)


class Folders(dict[str, Path]):
    """Family -> folder of a tiny model of three blocks, which is written when a test asks for it first."""

    def __init__(self, make_folder: Callable[[str], Path]) -> None:
        super().__init__()
        self._make_folder = make_folder

    def __missing__(self, family: str) -> Path:
        return self.setdefault(family, save_tiny_model(self._make_folder(family), family, seed=3))


@pytest.fixture(scope="package")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Family -> folder of a tiny model of three blocks, which no test changes."""
    return Folders(tmp_path_factory.mktemp)


@pytest.fixture(scope="package")
def broken_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model whose block 1 gives fc2 an infinite input, which no test changes."""
    folder = save_tiny_model(tmp_path_factory.mktemp("broken"))
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.fc1.bias"][5] = torch.inf
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture
def path(folders: Folders, tmp_path: Path) -> Path:
    """Folder of a tiny XGLM, which a test may change."""
    return shutil.copytree(folders["xglm"], tmp_path / "xglm")
