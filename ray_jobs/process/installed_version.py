"""Versions of installed packages. Loads nothing, so that every node of a cluster can state its own."""

from importlib.metadata import PackageNotFoundError, version


def installed_version(name: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
