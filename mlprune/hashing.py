"""Hashing: canonical JSON, digests, and deterministic order and split of items."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, in which equal values are equal texts. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256, in hex, of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def ordered_by_hash(seed: int, names: Iterable[int | str]) -> list[Any]:
    """Names ordered by SHA-256 of `"seed:name"`, smallest first: the project's one way to draw lines, files, items."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def split_of(name: int | str) -> str:
    """The half a corpus item belongs to: dev where SHA-256 of `"split:name"` is even, else test."""
    return "test" if hashlib.sha256(f"split:{name}".encode()).digest()[-1] % 2 else "dev"
