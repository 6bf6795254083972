"""Python files imported under a name of their own, and packages that cannot be imported."""

import importlib.util
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest


def imported_file(path: Path) -> ModuleType:
    """Run a Python file, and return its module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Refuse:
    """A finder that refuses some packages."""

    def __init__(self, packages: Collection[str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in self._packages:
            raise ImportError(name)


@contextmanager
def without_packages(packages: Collection[str]) -> Iterator[None]:
    """Let imports of some packages fail, as if they were not installed."""
    with pytest.MonkeyPatch.context() as patch:
        for module in [name for name in sys.modules if name.partition(".")[0] in packages]:
            patch.delitem(sys.modules, module)
        patch.setattr(sys, "meta_path", [_Refuse(packages), *sys.meta_path])
        for package in packages:
            with pytest.raises(ImportError):
                importlib.import_module(package)
        yield
