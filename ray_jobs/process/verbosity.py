"""How much a command writes to stderr: the level of the loggers of this project."""

import logging
from collections.abc import Mapping

PACKAGES = ("mlprune", "catalog", "ray_jobs")
LEVELS: Mapping[int, int] = {-1: logging.ERROR, 0: logging.NOTSET, 1: logging.INFO}


def set_verbosity(verbosity: int) -> None:
    """Set how much is written: -1 only errors, 0 also progress, notes and warnings, 1 also what is logged as info."""
    for package in PACKAGES:
        logging.getLogger(package).setLevel(LEVELS[verbosity])


def is_quiet() -> bool:
    """Whether only results and errors are written."""
    return logging.getLogger(PACKAGES[0]).level > logging.WARNING
