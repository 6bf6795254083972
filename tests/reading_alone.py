"""Run a command as in an environment of mlprune-reader: the libraries that it does not install cannot be imported.

python -m tests.reading_alone query best_by_language --store store
"""

import sys
import tomllib
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
MODULES = {"huggingface-hub": "huggingface_hub", "nvidia-ml-py": "pynvml", "protobuf": "google"}
"""Distribution -> its module, if the name differs."""
OF_OTHERS = {"packaging"}
"""Libraries that a library of the reader requires."""


def libraries(project: str) -> set[str]:
    """Names of the libraries that a project file requires."""
    lines = tomllib.loads((ROOT / project).read_text("utf-8"))["project"]["dependencies"]
    return {Requirement(line).name for line in lines}


def hidden() -> set[str]:
    """Modules that an environment of the reader lacks."""
    missing = libraries("pyproject.toml") - libraries("infra/reader/pyproject.toml") - OF_OTHERS
    return {MODULES.get(name, name) for name in missing}


class Hidden(MetaPathFinder):
    """Finds no module of some names, as if they were not installed."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse a hidden module."""
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


if __name__ == "__main__":
    from mlprune import version

    sys.meta_path.insert(0, Hidden(hidden()))
    version.is_reader = lambda: True
    from ray_jobs.cli import main

    main()
