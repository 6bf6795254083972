"""Records: what a step writes when its work is done, and the id that the work has before it starts.

An id is a hash of everything that determines the result, so equal work has the same id on every machine. A record
contains only what its inputs determine: no time, host, path of a machine or number of retries (run files have those).

A record carries the checksum of its own content, so that any change of it is detected. Reading accepts a record only
if it is, byte for byte, what was written under its kind and id.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from mlprune.errors import DamagedRecordError, EarlierVersionError
from mlprune.hashing import canonical_json, digest
from mlprune.json_values import JsonObject, JsonValue, as_str
from mlprune.store.record_kinds import artefact_folders

Parents: TypeAlias = Mapping[str, str | Sequence[str]]
"""Role -> id, or list of ids, of the work that a piece of work reads."""
ID_LENGTH = 20
"""Hex digits of an id."""
RecordKey: TypeAlias = tuple[str, str]
"""(kind, id) of a record."""
CHECKSUM_START = b'{"checksum":"'
"""First bytes of every record since version 0.2."""
_CHECKSUM_END = b'",'
_SHA256_LENGTH = 64
_BODY_START = len(CHECKSUM_START) + _SHA256_LENGTH + len(_CHECKSUM_END)
_KIND = re.compile(r"[a-z][a-z0-9_]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ARTEFACT_PATH = re.compile(r"(?!\.{1,2}/)[^/\\\x00-\x1f\x7f]+(?:/(?!\.{1,2}(?:/|$))[^/\\\x00-\x1f\x7f]+)+")
"""Two names or more, none of them `.` or `..`."""
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
_ARTEFACT_FIELDS = {"path", "n_bytes", "sha256", "n_rows"}


def identity(
    kind: str,
    *,
    step_version: int,
    parameters: JsonObject,
    parents: Parents | None = None,
    contents: Mapping[str, str] | None = None,
) -> str:
    """Return the id of a piece of work: 20 hex digits over its kind, step version, parameters, parents and contents.

    Args:
        kind: a key of `RECORD_KINDS`.
        parameters: everything that was chosen and differs from its default; JSON values only.
        parents: role -> id, or list of ids, of the work this one reads.
        contents: name -> SHA-256 of the files this work reads that no parent made.
    """
    value = {
        "kind": kind,
        "step_version": step_version,
        "parameters": dict(parameters),
        "parents": dict(parents or {}),
        "contents": dict(contents or {}),
    }
    return digest(value)[:ID_LENGTH]


@dataclass(frozen=True)
class Artefact:
    """One file of a result."""

    path: str
    """Relative to the store, with forward slashes."""
    n_bytes: int
    sha256: str
    n_rows: int | None = None


@dataclass(frozen=True)
class Record:
    """A finished piece of work. Its existence in the store means "done"."""

    kind: str
    id: str
    step_version: int
    parameters: JsonObject
    parents: Parents = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    artefacts: tuple[Artefact, ...] = ()
    rows: Mapping[str, Sequence[JsonObject]] = field(default_factory=dict)
    """Catalog table -> the rows this work contributes; the catalog is nothing but these."""

    @property
    def path(self) -> str:
        """Path of the record, relative to the store."""
        return record_path(self.kind, self.id)

    def parent(self, role: str) -> str:
        """Return the id of the one parent of a role; raises KeyError or TypeError if there is not exactly one."""
        return as_str(self.parents[role])

    def optional_parent(self, role: str) -> str | None:
        """Return the id of the parent of a role, None if there is none."""
        return self.parent(role) if role in self.parents else None

    def to_line(self) -> str:
        """Return the record as one line of JSON, the same for equal records.

        It is the canonical JSON of the record with its SHA-256 in front, as the first key: `{"checksum":"...", ...}`.
        """
        return _with_checksum(canonical_json(self._fields()), separator="")

    def to_json(self) -> str:
        """Return the same with line breaks between the fields, the artefacts and the rows.

        Without its line breaks, the text is that of `to_line`: in JSON no string contains one.
        """
        fields = self._fields()
        texts = {key: canonical_json(value) for key, value in fields.items()}
        texts["artefacts"] = _one_per_line([vars(artefact) for artefact in self.artefacts])
        tables = [f"{canonical_json(name)}:{_one_per_line(rows)}" for name, rows in sorted(self.rows.items())]
        texts["rows"] = "{" + ",\n".join(tables) + "}"
        body = "{" + ",\n".join(f'"{key}":{text}' for key, text in sorted(texts.items())) + "}"
        return _with_checksum(body, separator="\n") + "\n"

    def _fields(self) -> dict[str, JsonValue]:
        return {
            "kind": self.kind,
            "id": self.id,
            "step_version": self.step_version,
            "parameters": self.parameters,
            "parents": self.parents,
            "contents": self.contents,
            "artefacts": [vars(artefact) for artefact in self.artefacts],
            "rows": self.rows,
        }


def parent_ids(record: Record) -> Iterator[str]:
    """Yield the ids of all parents of a record."""
    for parent in record.parents.values():
        yield from [parent] if isinstance(parent, str) else parent


def record_path(kind: str, record_id: str) -> str:
    """Return the path of a record, relative to the store."""
    return f"records/{kind}/{record_id}.json"


def one_line(text: bytes) -> bytes:
    """Return the text of a record on one line, without changing anything else of it."""
    return text.replace(b"\n", b"")


def _with_checksum(body: str, *, separator: str) -> str:
    checksum = hashlib.sha256(body.replace("\n", "").encode()).hexdigest()
    return f'{{"checksum":"{checksum}",{separator}{body[1:]}'


def _one_per_line(values: Sequence[JsonObject]) -> str:
    return "[" + ",".join("\n" + canonical_json(value) for value in values) + "]"


def parse_record(text: bytes, *, kind: str, record_id: str) -> Record:
    """Read a record back from the text of `Record.to_json` or `Record.to_line`.

    Args:
        text: content of a record file, or a line of a segment.
        kind: kind under which it is stored.
        record_id: id under which it is stored.
    Raises:
        DamagedRecordError: it is not, byte for byte, what was written under this kind and id.
        EarlierVersionError: version 0.1 wrote it.
    """
    try:
        return _checked(one_line(text), kind, record_id)
    except (ValueError, RecursionError) as err:
        if is_of_version_0_1(text, kind=kind, record_id=record_id):
            raise version_0_1_error(record=record_path(kind, record_id)) from err
        raise DamagedRecordError("a record is damaged", record=record_path(kind, record_id), reason=str(err)) from err


def is_of_version_0_1(text: bytes, *, kind: str, record_id: str) -> bool:
    """Whether version 0.1 wrote a text under this kind and id: it has all fields of a record except for the checksum.

    Its id has to follow from its inputs, as in later versions. Damage of a later record does not produce such a text.
    """
    if text.startswith(CHECKSUM_START):
        return False
    try:
        fields = {**orjson.loads(text), "checksum": ""}
        _require_types(fields)
        inputs = {name: fields[name] for name in ("step_version", "parameters", "parents", "contents")}
        return (fields["kind"], fields["id"]) == (kind, record_id) and record_id == identity(kind, **inputs)
    except (ValueError, TypeError, RecursionError):
        return False


def version_0_1_error(**context: object) -> EarlierVersionError:
    """Return the error for records of version 0.1."""
    return EarlierVersionError(
        "records of mlprune 0.1 are not read by later versions",
        context,
        next="run the recipe again with another folder as --store; docs/store.md, Stores of earlier versions",
    )


def stated_checksum(text: bytes) -> bytes | None:
    """Return the checksum that the text of a record states, however damaged the rest is; None if it states none."""
    checksum = text[len(CHECKSUM_START) : len(CHECKSUM_START) + _SHA256_LENGTH]
    is_stated = text.startswith(CHECKSUM_START) and _SHA256.fullmatch(checksum.decode("ascii", "replace"))
    return checksum if is_stated else None


def _checked(line: bytes, kind: str, record_id: str) -> Record:
    """Parse and check a record; a ValueError says what is wrong."""
    stated = line[len(CHECKSUM_START) : len(CHECKSUM_START) + _SHA256_LENGTH]
    if line[:_BODY_START] != CHECKSUM_START + stated + _CHECKSUM_END:
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
