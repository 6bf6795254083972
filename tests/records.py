"""Made-up records whose ids follow from their inputs."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from mlprune.hashing import canonical_json
from mlprune.store.records import Artefact, Record, identity


def made_up_record(
    kind: str = "variants",
    parameters: Mapping[str, Any] | None = None,
    *,
    parents: Mapping[str, Any] | None = None,
    artefacts: Sequence[Artefact] = (),
    rows: Mapping[str, list[dict[str, Any]]] | None = None,
    step_version: int = 1,
) -> Record:
    """Return a record with the id that its kind, version, parameters and parents give it."""
    inputs = {"step_version": step_version, "parameters": parameters or {}, "parents": parents or {}}
    record_id = identity(kind, **inputs)
    return Record(kind, record_id, **inputs, artefacts=tuple(artefacts), rows=rows or {})


def record_text(fields: Mapping[str, Any]) -> bytes:
    """Return the text of a record file with some fields and the checksum that belongs to them, whatever they are."""
    body = canonical_json({name: value for name, value in fields.items() if name != "checksum"})
    checksum = hashlib.sha256(body.encode()).hexdigest()
    return f'{{"checksum":"{checksum}",{body[1:]}\n'.encode()
