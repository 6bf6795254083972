"""Actors without Ray: methods run at once in this process, and object references hold their values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Reference:
    """An object reference whose value is known."""

    value: Any


class RemoteMethod:
    """A method of an actor; `remote` calls it and records the call."""

    def __init__(self, method: Callable[..., Any], calls: list[str]) -> None:
        self._method, self._calls = method, calls

    def remote(self, *args: Any, **kwargs: Any) -> Reference:
        self._calls.append(getattr(self._method, "__name__", ""))
        return Reference(self._method(*map(get, args), **kwargs))


class Actor:
    """The handle of an actor that wraps a plain object."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain
        self.calls: list[str] = []
        """Names of the called methods."""

    def __getattr__(self, name: str) -> RemoteMethod:
        return RemoteMethod(getattr(self.plain, name), self.calls)


def get(references: Any) -> Any:
    """The values of references, as `ray.get`; other values are returned as they are."""
    if isinstance(references, list):
        return [get(reference) for reference in references]
    return references.value if isinstance(references, Reference) else references
