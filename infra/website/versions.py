"""Versions of the site in one folder: one folder each, the list that the selector reads, and a page that redirects.

The list has the form of mike's `versions.json`, which the theme reads. mike itself works on sites of MkDocs.
"""

import json
import shutil
import tomllib
from pathlib import Path

from packaging.version import Version

from infra.website.build import ROOT

LATEST = "latest"
_REDIRECT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>mlprune</title>
<meta http-equiv="refresh" content="0; url={version}/">
<a href="{version}/">mlprune {version}</a>
</html>
"""


def current_version(root: Path = ROOT) -> Version:
    """Return the version of the project."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return Version(project["version"])


def folder_of(version: Version) -> str:
    """Return the folder of a version: patches of a minor version share one, other releases have their own."""
    return str(version) if version.is_prerelease else f"{version.major}.{version.minor}"


def add_version(html: Path, folder: Path, *, version: Version) -> Path:
    """Copy a site to a folder of versions, replacing the same version, and return its place.

    The newest release is the latest version; as long as there is none, the newest pre-release is.
    """
    name = folder_of(version)
    shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(html, folder / name)
    names = sorted({path.parent.name for path in folder.glob("*/index.html")}, key=Version, reverse=True)
    latest = next((other for other in names if not Version(other).is_prerelease), names[0])
    entries = [{"version": one, "title": one, "aliases": [LATEST] if one == latest else []} for one in names]
    (folder / "versions.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    (folder / "index.html").write_text(_REDIRECT.format(version=latest), encoding="utf-8")
    (folder / ".nojekyll").touch()
    return folder / name
