"""Prune multilingual language models with translation demonstrations: the science, without Ray and without DuckDB.

`open`, `plan` and `run` are the Python interface; `docs/python.md` describes it. They are loaded on first access, so
that `import mlprune` loads none of their libraries.
"""

import importlib
from collections.abc import Sequence

_INTERFACE = ("open", "plan", "run")
"""Functions of `mlprune.api`. No module of this package may have one of these names: importing it would hide the
function."""


def __getattr__(name: str) -> object:
    if name == "__version__":
        return importlib.import_module("mlprune.version").version()
    if name in _INTERFACE:
        return getattr(importlib.import_module("mlprune.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> Sequence[str]:
    return sorted({*globals(), *_INTERFACE, "__version__"})
