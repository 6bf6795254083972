"""Records and identity: what a step leaves behind when it is done, and the name it has before it starts.

An id is a hash of everything that determines the result, so the same work has the same name on every machine. A record
holds only what its inputs determine: no clock, host, path of this machine or retry count (those go to run files).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from mlprune.hashing import canonical_json, digest

ID_LENGTH = 20
"""Hex digits of an id."""


def identity(
    kind: str,
    *,
    step_version: int,
    parameters: Mapping[str, Any],
    parents: Mapping[str, Any] | None = None,
    contents: Mapping[str, str] | None = None,
) -> str:
    """The id of a piece of work: 20 hex digits over its kind, step version, parameters, parent ids and content hashes.

    Args:
        kind: table-like name of the result, a key of `terms.STEP_VERSIONS`.
        parameters: everything that was chosen, defaults filled in; JSON values only.
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
    parameters: Mapping[str, Any]
    parents: Mapping[str, Any] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    artefacts: tuple[Artefact, ...] = ()
    rows: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Catalog table -> the rows this work contributes; the catalog is nothing but these."""

    @property
    def path(self) -> str:
        """Where the record lies in a store."""
        return record_path(self.kind, self.id)

    def to_json(self) -> str:
        """One readable JSON document, the same text for equal records."""
        return json.dumps(self._value(), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_line(self) -> str:
        """The same on one line, without its end; it begins with the id, the other keys are sorted."""
        value = self._value()
        first = canonical_json({"id": value.pop("id")})
        return f"{first[:-1]},{canonical_json(value)[1:]}"

    def _value(self) -> dict[str, Any]:
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

    @classmethod
    def from_json(cls, text: str | bytes) -> "Record":
        """The inverse of `to_json` and `to_line`; raises ValueError, KeyError or TypeError for anything else."""
        value = orjson.loads(text)
        if not isinstance(value, dict):
            raise TypeError(f"a record is a JSON object, not {type(value).__name__}")
        artefacts = tuple(Artefact(**artefact) for artefact in value.pop("artefacts"))
        return cls(artefacts=artefacts, **value)


def record_path(kind: str, record_id: str) -> str:
    """Path of a record, relative to the store."""
    return f"records/{kind}/{record_id}.json"
