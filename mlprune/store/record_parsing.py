"""Parsing of records: accept a record only if it is, byte for byte, what was written under its kind and id."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import orjson

from mlprune.errors import DamagedRecordError
from mlprune.store.record_kinds import artefact_folders
from mlprune.store.records import Artefact, Record, identity, one_line, record_path

_CHECKSUM_START = b'{"checksum":"'
_CHECKSUM_END = b'",'
_SHA256_LENGTH = 64
_BODY_START = len(_CHECKSUM_START) + _SHA256_LENGTH + len(_CHECKSUM_END)

_KIND = re.compile(r"[a-z][a-z0-9_]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ARTEFACT_PATH = re.compile(r"(?!\.{1,2}/)[^/\\\x00-\x1f\x7f]+(?:/(?!\.{1,2}(?:/|$))[^/\\\x00-\x1f\x7f]+)+")
"""Two names or more, none of them `.` or `..`."""


def parse_record(text: bytes, *, kind: str, record_id: str) -> Record:
    """Read a record back from the text of `Record.to_json` or `Record.to_line`.

    Args:
        text: content of a record file, or a line of a segment.
        kind: kind under which it is stored.
        record_id: id under which it is stored.
    Raises:
        DamagedRecordError: it is not, byte for byte, what was written under this kind and id.
    """
    try:
        return _checked(one_line(text), kind, record_id)
    except (ValueError, RecursionError) as err:
        raise DamagedRecordError("a record is damaged", record=record_path(kind, record_id), reason=str(err)) from err


def stated_checksum(text: bytes) -> bytes | None:
    """Return the checksum that the text of a record states, however damaged the rest is; None if it states none."""
    checksum = text[len(_CHECKSUM_START) : len(_CHECKSUM_START) + _SHA256_LENGTH]
    is_stated = text.startswith(_CHECKSUM_START) and _SHA256.fullmatch(checksum.decode("ascii", "replace"))
    return checksum if is_stated else None


def _checked(line: bytes, kind: str, record_id: str) -> Record:
    """Parse and check a record; a ValueError says what is wrong."""
    stated = line[len(_CHECKSUM_START) : len(_CHECKSUM_START) + _SHA256_LENGTH]
    if line[:_BODY_START] != _CHECKSUM_START + stated + _CHECKSUM_END:
        raise ValueError("it does not begin with a checksum")
    computed = hashlib.sha256(b"{")
    computed.update(memoryview(line)[_BODY_START:])
    if computed.hexdigest().encode() != stated:
        raise ValueError("its checksum does not match its content")
    fields = orjson.loads(line)
    _require_types(fields)
    if (fields["kind"], fields["id"]) != (kind, record_id):
        raise ValueError(f"it calls itself {fields['kind']}/{fields['id']}")
    record = Record(
        kind=kind,
        id=record_id,
        step_version=fields["step_version"],
        parameters=fields["parameters"],
        parents=fields["parents"],
        contents=fields["contents"],
        artefacts=tuple([_artefact(value, kind=kind) for value in fields["artefacts"]]),
        rows=fields["rows"],
    )
    if record_id != _identity_of(record):
        raise ValueError("its id does not follow from its inputs")
    return record


def _identity_of(record: Record) -> str:
    return identity(
        record.kind,
        step_version=record.step_version,
        parameters=record.parameters,
        parents=record.parents,
        contents=record.contents,
    )


_FIELD_TYPES: Mapping[str, type] = {
    "artefacts": list,
    "checksum": str,
    "contents": dict,
    "id": str,
    "kind": str,
    "parameters": dict,
    "parents": dict,
    "rows": dict,
    "step_version": int,
}


def _require_types(fields: Any) -> None:
    """Check the type of every field, and of what lists and objects contain.

    Raises:
        ValueError: a field is missing, unknown, or of another type.
    """
    _require(type(fields) is dict and fields.keys() == _FIELD_TYPES.keys(), "its fields are not those of a record")
    for name, expected in _FIELD_TYPES.items():
        _require(type(fields[name]) is expected, f"{name} is not of type {expected.__name__}")
    _require(_KIND.fullmatch(fields["kind"]) is not None, "kind is not a name")
    for parent in fields["parents"].values():
        if type(parent) is not str and not (type(parent) is list and all(type(one) is str for one in parent)):
            raise ValueError("a parent is not an id or a list of ids")
    if not all(type(sha256) is str for sha256 in fields["contents"].values()):
        raise ValueError("a content is not a hash")
    for table, rows in fields["rows"].items():
        if type(rows) is not list or not all(type(row) is dict for row in rows):
            raise ValueError(f"the rows of {table} are not a list of objects")


def _require(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise ValueError(otherwise)


_ARTEFACT_FIELDS = {"path", "n_bytes", "sha256", "n_rows"}


def _artefact(fields: Any, *, kind: str) -> Artefact:
    """Check and build an artefact of a record of some kind.

    Raises:
        ValueError: a field is missing, unknown or of another type, or the path is not in a folder of the kind.
    """
    _require(type(fields) is dict and fields.keys() == _ARTEFACT_FIELDS, "an artefact has other fields than expected")
    path, n_bytes, sha256, n_rows = (fields[name] for name in ("path", "n_bytes", "sha256", "n_rows"))
    is_path = type(path) is str and _ARTEFACT_PATH.fullmatch(path) is not None
    is_allowed = is_path and path.partition("/")[0] in artefact_folders(kind)
    _require(is_allowed, f"an artefact is not in a folder of {kind}: {path!r}")
    _require(type(n_bytes) is int and n_bytes >= 0, "n_bytes of an artefact is not a size")
    _require(type(sha256) is str and _SHA256.fullmatch(sha256) is not None, "sha256 of an artefact is not a hash")
    _require(n_rows is None or (type(n_rows) is int and n_rows >= 0), "n_rows of an artefact is not a count")
    return Artefact(path, n_bytes, sha256, n_rows)
