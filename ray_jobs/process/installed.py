"""Versions of installed packages, and how an optional extra is installed. Loads nothing."""

from importlib.metadata import PackageNotFoundError, version


def install_command(extra: str) -> str:
    """Return how to install an optional extra of this package, which is on no package index."""
    return f"pip install -e '.[{extra}]' in the checkout, or pip install 'PATH_OF_THE_WHEEL[{extra}]'"


def installed_version(name: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
