"""The files of a model on another node than the driver's; hub models on a hub on loopback."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlprune.errors import ModelError
from mlprune.models.loading import resolve_model
from ray_jobs.workers.nodes.model_files import model_files
from ray_jobs.workers.nodes.required_files import ModelFiles, require_files_here
from tests.hub import Hub, folder_files, serving, use_hub
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"), "xglm")


@pytest.fixture
def copied(model: Path, tmp_path: Path) -> tuple[ModelFiles, Path]:
    """The files of the model, and the folder where a node has them."""
    shutil.copytree(model, tmp_path / "model")
    return model_files(tmp_path / "model"), tmp_path / "model"


def flip_last_byte(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("config.json", Path.unlink, "missing"),
        ("config.json", flip_last_byte, "content differs"),
        ("model.safetensors", lambda path: path.write_bytes(b""), "0 bytes"),
    ],
)
def test_a_file_that_is_missing_or_differs_is_named(
    name: str, damage: Callable[[Path], object], reason: str, copied: tuple[ModelFiles, Path]
) -> None:
    files, folder = copied
    require_files_here([files])
    damage(folder / name)
    with pytest.raises(ModelError) as caught:
        require_files_here([files])
    assert caught.value.context["path"] == str(folder / name)
    assert reason in str(caught.value.context["reason"])
    assert "MLPRUNE_MODEL_CACHE" in str(caught.value.context["next"])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving() as one:
        use_hub(monkeypatch, one.url, tmp_path / "cache")
        yield one


def test_a_node_downloads_a_hub_model_at_the_commit_and_path_of_the_driver(model: Path, hub: Hub) -> None:
    commit = hub.push("some/model", folder_files(model))
    folder = resolve_model("some/model")
    files = model_files(folder)
    hub.push("some/model", {"config.json": b"{}"})  # the branch moves on
    shutil.rmtree(folder.parents[1])
    require_files_here([files])
    assert folder.name == commit
    assert {path.name for path in folder.iterdir()} == files.sizes.keys()
    n_requests = len(hub.requests)
    require_files_here([files])
    assert len(hub.requests) == n_requests


def test_a_node_that_cannot_download_says_why(model: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.push("some/model", folder_files(model))
    folder = resolve_model("some/model")
    files = model_files(folder)
    shutil.rmtree(folder.parents[1])
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="cannot be reached") as caught:
        require_files_here([files])
    assert "HF_HOME" in str(caught.value.context["next"])
