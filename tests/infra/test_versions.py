"""Versions that several files state: of Python, of this package and of its libraries."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mlprune.capabilities.importing.sources import pytorch_source

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = SETTINGS["project"]
OLDEST = PROJECT["requires-python"].removeprefix(">=")
LISTED = ("dev", "site")
"""Extras whose versions are listed; the packages of `real` are models."""
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs").glob("*.md"),
    *(path for path in (ROOT / "infra").rglob("*") if path.suffix in (".yaml", ".sh") or path.name == "Dockerfile"),
    *(ROOT / ".github").rglob("*.yml"),
]


READER = tomllib.loads((ROOT / "infra/reader/pyproject.toml").read_text("utf-8"))["project"]


def requirements(*extras: str) -> Iterator[Requirement]:
    """What the package and these extras require."""
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    yield from map(Requirement, lines)


def bound_of(name: str) -> str:
    """The lowest version of a library that `pyproject.toml` allows."""
    (bound,) = {lowest(one) for one in requirements("dev") if one.name == name}
    return bound


def lowest(requirement: Requirement) -> str:
    """The lower bound of a requirement, or its only version."""
    (version,) = (one.version for one in requirement.specifier if one.operator in (">=", "=="))
    return version


def pins(name: str) -> Mapping[str, str]:
    """Library -> version in a list of versions."""
    lines = (ROOT / "infra" / name).read_text("utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.lstrip().startswith("#"))
    return {canonicalize_name(library): version for library, version in pairs}


def said(pattern: str) -> set[str]:
    """All that a pattern with one group finds in pages, cluster files and workflows."""
    return {version for path in PAGES for version in re.findall(pattern, path.read_text("utf-8"))}


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text("utf-8"))["jobs"]
    return found


def test_images_and_citation_have_the_version_of_the_package() -> None:
    assert said(r"\bmlprune:(\d+\.\d+[\w.]*)") == {PROJECT["version"]}
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == PROJECT["version"]


def test_pages_and_makefile_ask_for_the_oldest_python() -> None:
    assert said(r"Python (3\.\d+) or newer") == {OLDEST}
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert set(re.findall(r"Python (3\.\d+) or newer", makefile)) == {OLDEST}
    assert set(re.findall(r"version_info < \((\d+), (\d+)\)", makefile)) == {tuple(OLDEST.split("."))}
    assert set(re.findall(r"python-version (\S+)", makefile)) == {OLDEST}


def test_image_devcontainer_clusters_and_tools_use_the_oldest_python() -> None:
    assert said(r"python:(3\.\d+)-slim") == said(r"\bpython(3\.\d+) -m venv") == {OLDEST}
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text("utf-8"))
    assert container["image"].rpartition(":")[2] == OLDEST
    tools = SETTINGS["tool"]
    assert tools["ruff"]["target-version"] == f"py{OLDEST.replace('.', '')}"
    assert "python_version" not in tools["mypy"], "annotations of libraries are those for the Python that runs mypy"


def test_workflows_check_and_release_on_the_oldest_and_the_newest_python_that_is_promised() -> None:
    versions = [one.rpartition(" ")[2] for one in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", one)]
    assert versions == [f"3.{minor}" for minor in range(int(OLDEST[2:]), int(OLDEST[2:]) + len(versions))]
    checked = {entry["python"] for entry in workflow("check")["test"]["strategy"]["matrix"]["include"]}
    released = set(workflow("release")["test"]["strategy"]["matrix"]["python"])
    assert checked == released == {versions[0], versions[-1]}
    assert said(r'python-version: "(3\.\d+)"') == {versions[-1]}
    candidates = re.findall(r"python(3\.\d+)", (ROOT / "Makefile").read_text("utf-8"))
    assert set(versions) <= set(candidates)


def test_image_and_clusters_have_the_ray_of_the_last_good_run() -> None:
    versions = said(r"ray\[default\]==(\d[\d.]*)") | said(r"RAY_VERSION=(\S+)") | said(r'rayVersion: "(\S+)"')
    assert versions == {pins("constraints.txt")["ray"]}


def test_bounds_that_the_image_the_release_and_the_import_state_are_those_of_the_package() -> None:
    image = (ROOT / "infra/Dockerfile").read_text("utf-8")
    assert re.findall(r'"torch>=(\S+)"', image) == [bound_of("torch")]
    assert f"{pytorch_source.OLDEST_TORCH[0]}.{pytorch_source.OLDEST_TORCH[1]}" == bound_of("torch")
    assert said(r"build>=(\d[\d.]*)") == {bound_of("build")}
    assert said(r"zizmor==(\S+)") == {pins("lowest.txt")["zizmor"]}


def test_the_constraints_pin_every_library_of_the_project_within_its_range() -> None:
    versions = pins("constraints.txt")
    assert not [version for version in versions.values() if "+" in version]
    for one in requirements("dev"):
        assert one.specifier.contains(versions[canonicalize_name(one.name)]), one


def test_the_lowest_versions_are_the_bounds_of_the_project() -> None:
    versions = pins("lowest.txt")
    for one in requirements(*LISTED):
        pinned = versions[canonicalize_name(one.name)]
        assert one.specifier.contains(pinned)
        assert f"{pinned}.".startswith(f"{lowest(one)}."), f"make lowest; or raise {one} to {pinned}"


@pytest.mark.parametrize("extra", sorted(PROJECT["optional-dependencies"]))
def test_an_extra_asks_for_no_other_version_than_the_extra_for_development(extra: str) -> None:
    of_development = {one.name: str(one.specifier) for one in requirements("dev")}
    of_extra = map(Requirement, PROJECT["optional-dependencies"][extra])
    assert all(of_development.get(one.name, str(one.specifier)) == str(one.specifier) for one in of_extra)


def test_commands_that_pages_show_install_extras_that_exist() -> None:
    shown = {name for names in said(r"\.\[([\w,]+)\]") for name in names.split(",")}
    assert shown
    assert shown <= set(PROJECT["optional-dependencies"])


def test_the_reader_is_of_the_same_version_and_asks_for_the_same_libraries() -> None:
    for key in ("version", "requires-python", "license", "authors", "keywords", "classifiers", "scripts"):
        assert READER[key] == PROJECT[key], key
    assert set(READER["dependencies"]) < set(PROJECT["dependencies"])


def test_the_reader_asks_for_no_library_that_runs_models() -> None:
    names = {Requirement(line).name for line in READER["dependencies"]}
    assert names.isdisjoint({"torch", "ray", "transformers", "numba", "accelerate", "tokenizers", "safetensors"})
