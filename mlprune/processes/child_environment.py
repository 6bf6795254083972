"""Environment variables of processes that run modules of this project."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""Folder of the project's packages; a submitted working directory is not installed."""


def child_environment() -> dict[str, str]:
    """Return the environment of this process, in which Python also finds the project's packages."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
