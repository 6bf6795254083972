"""Records: what a step writes when its work is done, and the id that the work has before it starts.

An id is a hash of everything that determines the result, so equal work has the same id on every machine. A record
contains only what its inputs determine: no time, host, path of a machine or number of retries (run files have those).

A record carries the checksum of its own content, so that any change of it is detected.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from mlprune.hashing import canonical_json, digest
from mlprune.json_values import JsonObject, JsonValue, as_str

Parents: TypeAlias = Mapping[str, str | Sequence[str]]
"""Role -> id, or list of ids, of the work that a piece of work reads."""
ID_LENGTH = 20
"""Hex digits of an id."""


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


RecordKey: TypeAlias = tuple[str, str]
"""(kind, id) of a record."""


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
