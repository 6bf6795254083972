"""The version of this package, which `pyproject.toml` states."""

import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
"""The file of a source tree; an installed package has none."""
DISTRIBUTION = "mlprune"
UNKNOWN = "0+unknown"
"""Version of a copy of the package that has neither a source tree nor metadata."""


@cache
def version() -> str:
    """Return the version of the code that is imported.

    A source tree is asked first: the metadata of an editable installation is that of the day when it was installed, and
    a tree in `PYTHONPATH` may hide an installed package.
    """
    return _of_tree(PROJECT) or _installed()


def _of_tree(project: Path) -> str | None:
    """Return the version that a project file states; None if there is none, or if it is of another project."""
    try:
        stated = tomllib.loads(project.read_text("utf-8")).get("project", {})
    except (OSError, ValueError):
        return None
    return str(stated["version"]) if stated.get("name") == DISTRIBUTION and "version" in stated else None


def _installed() -> str:
    try:
        return installed_version(DISTRIBUTION)
    except PackageNotFoundError:
        return UNKNOWN
