"""Folders of caches: that of the user on this machine, and the variable that names the one of imported models."""

import os
from pathlib import Path

MODEL_CACHE_VARIABLE = "MLPRUNE_MODEL_CACHE"
"""Environment variable with the folder of imported models."""


def user_cache_folder() -> Path:
    """Return `$XDG_CACHE_HOME/mlprune`, or `~/.cache/mlprune`. It may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlprune"
