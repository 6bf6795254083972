"""The version is stated once, in `pyproject.toml`."""

import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import mlprune
from mlprune import version as version_module

ROOT = Path(__file__).parents[2]
STATED = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


@pytest.fixture
def without_tree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The project file of a package that is not in a source tree; it does not exist."""
    project = tmp_path / "pyproject.toml"
    monkeypatch.setattr(version_module, "PROJECT", project)
    return project


def asked() -> str:
    return version_module.version.__wrapped__()


def test_a_tree_has_the_version_of_its_project_file_whatever_is_installed() -> None:
    assert mlprune.__version__ == STATED
    assert "__version__" in dir(mlprune)


def test_an_installed_package_has_the_version_of_its_metadata(
    without_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_module, "installed_version", {"mlprune": "7.8.9"}.__getitem__)
    assert asked() == "7.8.9"
    without_tree.write_text('[project]\nname = "of-a-user"\nversion = "3"\n', encoding="utf-8")
    assert asked() == "7.8.9"
    without_tree.write_text("[project", encoding="utf-8")
    assert asked() == "7.8.9"


@pytest.mark.usefixtures("without_tree")
def test_a_copy_without_metadata_has_a_version_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(version_module, "installed_version", missing)
    assert asked() == version_module.UNKNOWN


@pytest.mark.usefixtures("without_tree")
@pytest.mark.parametrize(
    ("installed", "is_reader"),
    [({"mlprune-reader": "7.8.9"}, True), ({"mlprune-reader": "7.8.8", "mlprune": "7.8.9"}, False), ({}, False)],
)
def test_the_reader_is_recognised_where_it_is_installed_alone(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], is_reader: bool
) -> None:
    def version_of(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(version_module, "installed_version", version_of)
    assert version_module.is_reader() is is_reader
    assert asked() == ("7.8.9" if installed else version_module.UNKNOWN)


def test_a_tree_is_not_a_reader() -> None:
    assert not version_module.is_reader()
