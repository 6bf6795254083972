"""Hashing: canonical JSON, digests, parameters of ids, and deterministic order and split of items."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mlprune.errors import BadInputError
from mlprune.json_values import JsonValue

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Built = TypeVar("Built")
Name = TypeVar("Name", bound=int | str)


def canonical_json(value: object) -> str:
    """Return JSON with sorted keys and no spaces: equal values give equal texts. Raises ValueError for NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object) -> str:
    """Return the SHA-256, in hex, of the canonical JSON of a value.

    Raises:
        BadInputError: a text contains half of a surrogate pair.
    """
    try:
        data = canonical_json(value).encode()
    except UnicodeEncodeError as err:
        text = err.object[max(0, err.start - 20) : err.end + 20]
        raise BadInputError("a text contains half of a surrogate pair, which is not a character", text=text) from err
    return hashlib.sha256(data).hexdigest()


def ordered_by_hash(seed: int, names: Iterable[Name]) -> list[Name]:
    """Sort names by the SHA-256 of `"seed:name"`. All random choices of lines, files and items use this order."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def split_of(name: int | str) -> str:
    """Return the split of a corpus item: dev if the SHA-256 of `"split:name"` is even, test otherwise."""
    return "test" if hashlib.sha256(f"split:{name}".encode()).digest()[-1] % 2 else "dev"


def without_defaults(value: "DataclassInstance", *, omit: Collection[str] = ()) -> dict[str, JsonValue]:
    """Return the fields of a dataclass that differ from their defaults, as JSON values for an id.

    A new field with a default therefore changes no existing id. A field without a default is always part of the id.
    Tuples become lists, and nested dataclasses become objects without their own defaults; an empty one is left out.
    A field that does not take part in comparisons is not part of an id either.

    Args:
        omit: fields that do not determine the result, such as paths.
    """
    chosen = {
        field.name: getattr(value, field.name)
        for field in fields(value)
        if field.compare and field.name not in omit and getattr(value, field.name) != _default(field)
    }
    values = {name: _json_value(field_value) for name, field_value in chosen.items()}
    return {name: value for name, value in values.items() if value != {} or not is_dataclass(chosen[name])}


def with_defaults(cls: type[Built], parameters: Mapping[str, JsonValue]) -> Built:
    """Build a dataclass from the parameters of a record: the inverse of `without_defaults`.

    An absent parameter has its default, lists become tuples, and keys that are not fields are ignored. Nested
    dataclasses stay JSON objects: convert them first.

    Raises:
        TypeError: `cls` is not a dataclass, or a field without a default is absent.
    """
    if not is_dataclass(cls):
        raise TypeError(f"not a dataclass: {cls!r}")
    names = {field.name for field in fields(cls)}
    build: Callable[..., Built] = cls
    return build(**{name: _with_tuples(value) for name, value in parameters.items() if name in names})


def _default(field: Field[Any]) -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _json_value(value: object) -> Any:
    if isinstance(value, Mapping):
        return {key: _json_value(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return without_defaults(value)
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    return value


def _with_tuples(value: JsonValue) -> JsonValue:
    return tuple(_with_tuples(item) for item in value) if isinstance(value, list) else value
