"""The files of a model on another node than the driver's; hub models on a hub on loopback."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlprune.errors import BadInputError, ModelError
from mlprune.methods.plugins import PluginSource, RequiredPlugin, required_plugins
from mlprune.models.loading import resolve_model
from ray_jobs.driver.workplace import model_files
from ray_jobs.workers.required_files import NONE, ModelFiles, Requirements, problem_here, require_files_here
from tests.hub import Hub, folder_files, serving, use_hub
from tests.plugin_packages import CUBIC, on_path, write_distribution
from tests.refusals import refused
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
    with refused(ModelError, path=str(folder / name)) as caught:
        require_files_here([files])
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
    with pytest.raises(ModelError) as caught:
        require_files_here([files])
    assert "HF_HOME" in str(caught.value.context["next"])


POINTS = {"mlprune.scores": {"cubic": "cubic_of_nodes:CUBIC"}}


def installed(site: Path, *, version: str = "1.0", text: str = CUBIC) -> RequiredPlugin:
    """Install the score in a folder, and return what a driver that has it requires."""
    with on_path(site):
        write_distribution(site, {"cubic_of_nodes.py": text}, POINTS, version=version)
        (plugin,) = required_plugins([("score", "wanda"), ("structure", "2:4"), ("score", "cubic")])
    return plugin


def test_the_check_loads_no_tensor_library() -> None:
    """On every node a process of its own makes it, which would need seconds to load one."""
    code = "import sys, ray_jobs.workers.required_files; print({'torch', 'transformers'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_problem_of_this_machine_is_returned_as_plain_values(tmp_path: Path) -> None:
    problem = problem_here(Requirements((ModelFiles(str(tmp_path), {"config.json": 2}, {}),)))
    assert problem is not None
    message, context = problem
    assert context["path"] == str(tmp_path / "config.json")
    assert isinstance(ModelError(message, context), BadInputError)
    assert problem_here(NONE) is None


def test_a_plugin_of_the_same_version_and_source_is_found_without_importing_it(tmp_path: Path) -> None:
    plugin = installed(tmp_path / "driver")
    with on_path(tmp_path / "node") as site:
        write_distribution(site, {"cubic_of_nodes.py": CUBIC}, POINTS)
        assert problem_here(Requirements(plugins=(plugin,))) is None
        assert "cubic_of_nodes" not in sys.modules


def test_a_machine_without_the_plugin_or_with_another_one_says_so(tmp_path: Path) -> None:
    plugin = installed(tmp_path / "driver")
    nodes = {"none": None, "version": ("1.1", CUBIC), "source": ("1.0", CUBIC + "# patched on this node\n")}
    for name, installation in nodes.items():
        with on_path(tmp_path / name) as site:
            if installation:
                version, text = installation
                write_distribution(site, {"cubic_of_nodes.py": text}, POINTS, version=version)
            problem = problem_here(Requirements(plugins=(plugin,)))
        assert problem is not None, name
        _, context = problem
        assert context["score"] == "cubic"
        assert "cubic-scores 1.0" in str(context["expected"])
        assert "pip install" in str(context["next"])
        assert ("not installed" if installation is None else "cubic-scores") in str(context["got"])


def test_a_plugin_of_another_distribution_does_not_count(tmp_path: Path) -> None:
    plugin = installed(tmp_path / "driver")
    other = replace(plugin, source=PluginSource(plugin.source.sha256, "other-scores", "1.0"))
    with on_path(tmp_path / "driver"):
        assert problem_here(Requirements(plugins=(plugin,))) is None
        problem = problem_here(Requirements(plugins=(other,)))
    assert problem is not None
    assert problem[1]["got"] == "cubic-scores 1.0"
