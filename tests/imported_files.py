"""Python files imported under a name of their own."""

import importlib.util
from pathlib import Path
from types import ModuleType


def imported_file(path: Path) -> ModuleType:
    """Run a Python file, and return its module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
