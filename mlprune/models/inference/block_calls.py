"""How the model's code calls a block, as plain values that can be pickled and replayed. Recording is in `hooks`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CacheSlot:
    """Stands in a recorded call where the model passed its key-value cache; a shard puts in its own."""


@dataclass(frozen=True)
class BlockCall:
    """Everything but the hidden states that the model's code calls a block with. Picklable: a cache is a slot."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def with_cache(self, cache: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments and keyword arguments with the slots filled."""
        filled = replaced((self.args, dict(self.kwargs)), CacheSlot, lambda _: cache)
        return filled[0], filled[1]


def replaced(value: Any, kind: type, replace: Callable[[Any], Any]) -> Any:
    """A nest of tuples, lists and dicts with every instance of a type replaced."""
    if isinstance(value, kind):
        return replace(value)
    if isinstance(value, tuple | list):
        return type(value)(replaced(item, kind, replace) for item in value)
    if isinstance(value, dict):
        return {key: replaced(item, kind, replace) for key, item in value.items()}
    return value
