"""Plant a fault: replace one piece of a function's source for the time of a test."""

import inspect
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import pytest


def plant(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any], *, original: str, fault: str) -> None:
    """Replace a piece of the source of a function, which every caller then runs, wherever it was imported.

    Args:
        original: occurs once in the function.
    """
    target = inspect.unwrap(function)
    lines, first = inspect.getsourcelines(target)
    body = "".join(lines)
    assert body.count(original) == 1, (
        f"{target.__qualname__} has no {original!r}: plant the fault where the code is now"
    )
    file = Path(inspect.getsourcefile(target) or "")
    module_lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    module_lines[first - 1 : first - 1 + len(lines)] = [body.replace(original, fault)]
    module = compile("".join(module_lines), str(file), "exec", dont_inherit=True)
    monkeypatch.setattr(target, "__code__", _code_of(module, target.__code__.co_qualname))


def _code_of(code: CodeType, qualified_name: str) -> CodeType:
    pending = [code]
    while pending:
        code = pending.pop()
        if code.co_qualname == qualified_name:
            return code
        pending += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    raise LookupError(qualified_name)
