"""The version of this package, which `pyproject.toml` states."""

import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
"""The file of a source tree; an installed package has none."""
DISTRIBUTION, READER = "mlprune", "mlprune-reader"
"""Names of the distributions with this package: all of it, and the one without the libraries that run models."""
UNKNOWN = "0+unknown"
"""Version of a copy of the package that has neither a source tree nor metadata."""


@cache
def version() -> str:
    """Return the version of the code that is imported.

    A source tree is asked first: the metadata of an editable installation is that of the day when it was installed, and
    a tree in `PYTHONPATH` may hide an installed package.
    """
    return _of_tree(PROJECT) or _installed(DISTRIBUTION) or _installed(READER) or UNKNOWN


def _of_tree(project: Path) -> str | None:
    """Return the version that a project file states; None if there is none, or if it is of another project."""
    try:
        stated = tomllib.loads(project.read_text("utf-8")).get("project", {})
    except (OSError, ValueError):
        return None
    return str(stated["version"]) if stated.get("name") == DISTRIBUTION and "version" in stated else None


def is_reader() -> bool:
    """Return whether the imported code was installed as `mlprune-reader` alone."""
    return _of_tree(PROJECT) is None and _installed(DISTRIBUTION) is None and _installed(READER) is not None


def _installed(name: str) -> str | None:
    try:
        return installed_version(name)
    except PackageNotFoundError:
        return None
