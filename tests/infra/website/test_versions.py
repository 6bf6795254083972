"""Versions of the site in one folder."""

import json
from pathlib import Path

import pytest
from packaging.version import Version

from infra.website.versions import add_version


@pytest.fixture
def html(tmp_path: Path) -> Path:
    (tmp_path / "html").mkdir()
    (tmp_path / "html/index.html").write_text("new")
    return tmp_path / "html"


def versions_of(folder: Path) -> dict[str, list[str]]:
    return {entry["version"]: entry["aliases"] for entry in json.loads((folder / "versions.json").read_text())}


def test_the_newest_release_is_the_latest_version_and_a_patch_replaces_its_minor_version(
    html: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    for version in ("1.0.0rc1", "1.0.0", "1.10.0", "1.9.2", "2.0.0rc1", "1.10.1"):
        add_version(html, site, version=Version(version))
    assert versions_of(site) == {"2.0.0rc1": [], "1.10": ["latest"], "1.9": [], "1.0": [], "1.0.0rc1": []}
    assert "url=1.10/" in (site / "index.html").read_text()


def test_a_pre_release_is_the_latest_version_until_there_is_a_release(html: Path, tmp_path: Path) -> None:
    add_version(html, tmp_path / "site", version=Version("1.0.0rc1"))
    assert versions_of(tmp_path / "site") == {"1.0.0rc1": ["latest"]}


def test_files_of_an_earlier_build_of_a_version_are_removed(html: Path, tmp_path: Path) -> None:
    place = add_version(html, tmp_path / "site", version=Version("1.0.0"))
    (place / "gone.html").write_text("old")
    add_version(html, tmp_path / "site", version=Version("1.0.1"))
    assert [path.name for path in place.iterdir()] == ["index.html"]
